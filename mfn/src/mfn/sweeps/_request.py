"""From what a person asked for, on the command line, in a file or in a notebook, to a plan."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, fields, frozen

from mfn.sweeps._axes import numbers, parameter_values, seeds, thresholds
from mfn.sweeps._design import Design, GridDesign
from mfn.sweeps._plan import SweepPlan
from mfn.sweeps._presets import SAMPLES, SCENARIOS
from mfn_core.config import suggest

__all__ = ["Request", "read_request"]

MODEL = "mycelium_rd"
"""Of scenarios and samples, and of a grid that names none."""


@frozen(kw_only=True)
class Request:
    """The options of a sweep; what is None was not given. Axes are text, numbers or sequences as `_axes` reads them."""

    preset: str | None = None
    sample: str | None = None
    samples: int | None = None
    seed: int | None = None
    name: str | None = None
    model: str | None = None
    boundary: str | None = None
    engine: str | None = None
    thresholds: Any = None
    grid: Any = None
    steps: Any = None
    seeds: Any = None
    set: Mapping[str, Any] = field(factory=dict)

    def over(self, other: Request) -> Request:
        """This request where it says something, and the other one where it does not."""
        mine = {
            each.name: value
            for each in fields(Request)
            if (value := getattr(self, each.name)) is not None and value != {}
        }
        if self.set:
            mine["set"] = {**other.set, **self.set}
        return evolve(other, **mine)

    def plan(self) -> SweepPlan:
        """The plan, whose values are still to be checked against the model.

        Raises:
            ValueError: the options contradict each other, or one cannot be read.
        """
        name, design = self._design()
        return SweepPlan(
            scenario=self.name or name,
            model=self.model or MODEL,
            boundary=self.boundary or "",
            engine=self.engine or "auto",
            thresholds=None if self.thresholds is None else thresholds(self.thresholds),
            design=design,
        )

    def _design(self) -> tuple[str, Design]:
        if self.preset is not None:
            self._refuse("preset", "sample", "samples", "model", "boundary", "grid", "steps", "seeds", "set")
            name, scenario = _named(SCENARIOS, "preset", self.preset)
            return name, scenario if self.seed is None else evolve(scenario, base_seed=_seed(self.seed))
        if self.sample is not None:
            self._refuse("sample", "model", "boundary", "grid", "steps", "seeds", "set")
            sample = _named(SAMPLES, "sample", self.sample)
            changes = {"samples": self.samples, "base_seed": self.seed}
            return f"sample_{self.sample}", evolve(sample, **{k: v for k, v in changes.items() if v is not None})
        self._refuse("a grid of parameters", "samples", "seed")
        return "sweep", GridDesign(
            grid_sizes=numbers("grid", 64 if self.grid is None else self.grid),
            steps=numbers("steps", 100 if self.steps is None else self.steps),
            parameters=tuple((name, parameter_values(name, given)) for name, given in self.set.items()),
            seeds=seeds(42 if self.seeds is None else self.seeds),
        )

    def _refuse(self, of: str, *names: str) -> None:
        """Refuse options that say nothing about this kind of sweep."""
        given = [name for name in names if getattr(self, name) not in (None, {})]
        if given:
            listed = " and ".join(given)
            remedy = {
                "samples": "it belongs to sample",
                "seed": "write seeds",
            }.get(given[0], f"leave {'it' if len(given) == 1 else 'them'} out, or write the axes of a grid instead")
            raise ValueError(f"{listed} cannot be given with {of}; {remedy}")


def read_request(path: Path) -> Request:
    """The request of a TOML file: a table `[sweep]` with the names of `Request`, and `[sweep.set]` for parameters.

    Raises:
        ValueError: the file is not TOML, or has a key that is unknown or of the wrong type; every one is named.
        OSError: it cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{path}: not TOML: {wrong}") from wrong
    problems = [f"unknown table [{name}]; a sweep stands in [sweep]" for name in tables if name != "sweep"]
    table = tables.get("sweep")
    if not isinstance(table, dict):
        raise ValueError(f"{path}: {'; '.join([*problems, 'it has no table [sweep]'])}")
    types = {each.name: each.type for each in fields(Request)}
    for name, value in table.items():
        kind = str(types.get(name))
        if name not in types:
            problems.append(f"sweep.{name}: unknown; {suggest(name, types)}")
        elif name == "set":
            if not isinstance(value, dict):
                problems.append("sweep.set: must be a table of parameters and their values")
        elif "str" in kind and not isinstance(value, str):
            problems.append(f"sweep.{name}: must be text, got {value!r}")
        elif "int" in kind and (not isinstance(value, int) or isinstance(value, bool)):
            problems.append(f"sweep.{name}: must be a whole number, got {value!r}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}")
    return Request(**table)


def _named(known: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}; {suggest(name, known)}")
    return known[name]


def _seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    return seed
