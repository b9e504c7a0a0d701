"""Which simulations a sweep consists of, and in which order: grids of parameters, scenarios, and random samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from attrs import frozen

from mfn.sweeps._axes import MAXIMUM_VALUES
from mfn_model import ParameterValue

__all__ = ["Design", "DesignKind", "GridDesign", "SampleDesign", "ScenarioDesign", "Settings", "design_of"]

DesignKind = Literal["grid", "scenario", "sample"]


@frozen(kw_only=True)
class Settings:
    """What one simulation of a sweep is run with; parameters that it leaves out take the model's defaults."""

    grid_size: int
    steps: int
    seed: int
    parameters: Mapping[str, ParameterValue]


class Design(Protocol):
    """The simulations of a sweep, numbered from 0. The same design gives the same simulations at every time."""

    @property
    def kind(self) -> DesignKind:
        """Which of the designs it is."""
        ...

    def __len__(self) -> int:
        """How many simulations there are."""
        ...

    def settings(self, number: int) -> Settings:
        """Those of the simulation with this number."""
        ...

    def described(self) -> dict[str, Any]:
        """All that determines it, in plain values that JSON can hold."""
        ...


@frozen(kw_only=True)
class GridDesign:
    """Every combination of the values of its axes; seeds change fastest, then the last parameter, grids slowest.

    Raises:
        ValueError: there are too many simulations, or steps are less than 1.
    """

    kind: ClassVar[DesignKind] = "grid"

    grid_sizes: tuple[int, ...]
    steps: tuple[int, ...]
    parameters: tuple[tuple[str, tuple[ParameterValue, ...]], ...] = ()
    seeds: Sequence[int]

    def __attrs_post_init__(self) -> None:
        if len(self) > MAXIMUM_VALUES:
            raise ValueError(f"the sweep has {len(self)} simulations, the bound is {MAXIMUM_VALUES}; split it")
        _require_steps(self.steps)

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    @cached_property
    def axes(self) -> tuple[Sequence[Any], ...]:
        return (self.grid_sizes, self.steps, *(values for _, values in self.parameters), self.seeds)

    def settings(self, number: int) -> Settings:
        """See `Design`."""
        chosen: list[Any] = []
        for axis in reversed(self.axes):
            number, position = divmod(number, len(axis))
            chosen.append(axis[position])
        grid_size, steps, *values, seed = reversed(chosen)
        names = (name for name, _ in self.parameters)
        return Settings(grid_size=grid_size, steps=steps, seed=seed, parameters=dict(zip(names, values, strict=True)))

    def described(self) -> dict[str, Any]:
        """See `Design`."""
        return {
            "kind": self.kind,
            "grid": list(self.grid_sizes),
            "steps": list(self.steps),
            "set": {name: list(values) for name, values in self.parameters},
            "seeds": _seeds_described(self.seeds),
        }


@frozen(kw_only=True)
class ScenarioDesign:
    """A fixed number of simulations that go through the values of alpha again and again, `seeds_per_alpha` of each.

    The seed of simulation i is `base_seed` + i.
    """

    kind: ClassVar[DesignKind] = "scenario"

    grid_size: int
    steps: int
    samples: int
    seeds_per_alpha: int
    alphas: tuple[float, ...]
    base_seed: int = 42

    def __len__(self) -> int:
        return self.samples

    def settings(self, number: int) -> Settings:
        """See `Design`."""
        alpha = self.alphas[number // self.seeds_per_alpha % len(self.alphas)]
        return Settings(
            grid_size=self.grid_size,
            steps=self.steps,
            seed=self.base_seed + number,
            parameters={"alpha": alpha, "turing_enabled": True},
        )

    def described(self) -> dict[str, Any]:
        """See `Design`."""
        return {
            "kind": self.kind,
            "grid": self.grid_size,
            "steps": self.steps,
            "samples": self.samples,
            "seeds_per_alpha": self.seeds_per_alpha,
            "alpha": list(self.alphas),
            "base_seed": self.base_seed,
        }


@frozen(kw_only=True)
class SampleDesign:
    """Simulations whose settings are drawn at random, each on its own and all from one PCG64 generator.

    For every simulation, in this order: the grid, one of `grid_sizes`; the steps, a whole number of their range, both
    ends included; alpha, uniform; whether `turing_enabled`; spike_probability and turing_threshold, uniform. The seed
    of simulation i is `base_seed` + i, and `base_seed` seeds the generator of the draws.

    Raises:
        ValueError: there are too many simulations or none, or steps are less than 1.
    """

    kind: ClassVar[DesignKind] = "sample"

    samples: int
    grid_sizes: tuple[int, ...]
    steps: tuple[int, int]
    alpha: tuple[float, float]
    spike_probability: tuple[float, float]
    turing_threshold: tuple[float, float]
    base_seed: int = 42

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.samples <= MAXIMUM_VALUES:
            raise ValueError(f"samples must be 1 to {MAXIMUM_VALUES}, got {self.samples}")
        if self.base_seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.base_seed}")
        _require_steps(self.steps)

    def __len__(self) -> int:
        return self.samples

    def settings(self, number: int) -> Settings:
        """See `Design`."""
        return self._drawn[number]

    @cached_property
    def _drawn(self) -> list[Settings]:
        generator = np.random.default_rng(self.base_seed)
        drawn = []
        for number in range(self.samples):
            grid_size = int(generator.choice(self.grid_sizes))
            steps = int(generator.integers(*self.steps, endpoint=True))
            alpha = float(generator.uniform(*self.alpha))
            turing_enabled = bool(generator.choice([True, False]))
            spike_probability = float(generator.uniform(*self.spike_probability))
            turing_threshold = float(generator.uniform(*self.turing_threshold))
            drawn.append(
                Settings(
                    grid_size=grid_size,
                    steps=steps,
                    seed=self.base_seed + number,
                    parameters={
                        "alpha": alpha,
                        "turing_enabled": turing_enabled,
                        "spike_probability": spike_probability,
                        "turing_threshold": turing_threshold,
                    },
                )
            )
        return drawn

    def described(self) -> dict[str, Any]:
        """See `Design`."""
        return {
            "kind": self.kind,
            "samples": self.samples,
            "grid": list(self.grid_sizes),
            "steps": list(self.steps),
            "alpha": list(self.alpha),
            "spike_probability": list(self.spike_probability),
            "turing_threshold": list(self.turing_threshold),
            "seed": self.base_seed,
        }


def design_of(described: Mapping[str, Any]) -> Design:
    """The design that `described` told of.

    Raises:
        ValueError: it did not.
    """
    try:
        if described["kind"] == "grid":
            return GridDesign(
                grid_sizes=tuple(described["grid"]),
                steps=tuple(described["steps"]),
                parameters=tuple((name, tuple(values)) for name, values in described["set"].items()),
                seeds=_seeds_of(described["seeds"]),
            )
        if described["kind"] == "scenario":
            return ScenarioDesign(
                grid_size=described["grid"],
                steps=described["steps"],
                samples=described["samples"],
                seeds_per_alpha=described["seeds_per_alpha"],
                alphas=tuple(described["alpha"]),
                base_seed=described["base_seed"],
            )
        return SampleDesign(
            samples=described["samples"],
            grid_sizes=tuple(described["grid"]),
            steps=tuple(described["steps"]),
            alpha=tuple(described["alpha"]),
            spike_probability=tuple(described["spike_probability"]),
            turing_threshold=tuple(described["turing_threshold"]),
            base_seed=described["seed"],
        )
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"not the description of a sweep: {type(wrong).__name__}: {wrong}") from wrong


def _seeds_described(seeds: Sequence[int]) -> str | list[int]:
    if isinstance(seeds, range) and seeds.step == 1:
        return f"{seeds.start}:{seeds.stop}"
    return list(seeds)


def _seeds_of(described: str | list[int]) -> Sequence[int]:
    if isinstance(described, str):
        first, _, end = described.partition(":")
        return range(int(first), int(end))
    return tuple(described)


def _require_steps(steps: Sequence[int]) -> None:
    if min(steps) < 1:
        raise ValueError(f"steps must be at least 1, got {min(steps)}; features are those of the states after steps")
