"""What a sweep is to compute: a design on a model, and the columns that its table will have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Literal

from attrs import field, frozen

from mfn.models import find_model
from mfn.sweeps._design import Design, Settings, design_of
from mfn.sweeps._measuring import feature_config
from mfn_model import FieldSpec, ParameterValue, SpecError, get_model

__all__ = ["Column", "SweepPlan", "counter_column", "plan_of"]

ColumnType = Literal["int", "float", "bool", "text"]

MAXIMUM_KINDS = 1000
"""Combinations of a grid that engines are asked about, one by one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@frozen
class Column:
    """One column of the table."""

    name: str
    type: ColumnType
    unit: str = "1"


def _checked_name(_: object, __: object, name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"a sweep's name is 1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit, got {name!r}"
        )


@frozen(kw_only=True)
class SweepPlan:
    """A sweep, fully determined but for the time at which it is run.

    Raises:
        ValueError: the name is not one.
    """

    scenario: str = field(validator=_checked_name)
    """Its name: that of its directory, and of the column `scenario_name`."""
    model: str = field(validator=lambda _, __, name: find_model(name))
    boundary: str = ""
    """Empty: the model's own."""
    engine: str = "auto"
    """`auto` is decided once, when the sweep begins."""
    thresholds: tuple[float, float, float] | None = None
    """Of the features, in mV or in the unit of the model; None: those of `feature_config`."""
    design: Design

    def __len__(self) -> int:
        return len(self.design)

    def spec(self, number: int) -> FieldSpec:
        """The specification of one simulation; raises `SpecError` for values out of the model's bounds."""
        settings = self.design.settings(number)
        return FieldSpec(
            model=self.model,
            grid_size=settings.grid_size,
            seed=settings.seed,
            parameters=settings.parameters,
            boundary=self.boundary,
        )

    def check(self) -> None:
        """Look at the values of every axis, each beside the first values of the others, before anything is computed.

        Values that are refused only together, far inside a grid, are found when their simulation is run.

        Raises:
            SpecError: with every violation.
            ValueError: the thresholds are none.
        """
        found: dict[tuple[str, str], Any] = {}
        for number in self._corners():
            settings = self.design.settings(number)
            for violation in FieldSpec.violations(
                model=self.model,
                grid_size=settings.grid_size,
                seed=settings.seed,
                parameters=settings.parameters,
                boundary=self.boundary,
            ):
                found.setdefault((violation.field, violation.message), violation)
        if found:
            raise SpecError(found.values())
        feature_config(self.model, self.thresholds)

    def kinds(self) -> Iterator[FieldSpec]:
        """Specifications that between them are of every kind that an engine may support or not.

        Every combination of the axes but for the seeds, or, where these are more than `MAXIMUM_KINDS`, every value of
        every axis beside the first values of the others. Those whose values are refused together are left out: their
        simulations will say so.
        """
        axes = getattr(self.design, "axes", None)
        seeds = 1 if axes is None else len(axes[-1])
        numbers = range(0, len(self), seeds)
        for number in numbers if len(numbers) <= MAXIMUM_KINDS else self._corners():
            with suppress(SpecError):
                yield self.spec(number)

    def _corners(self) -> Sequence[int]:
        """Numbers of simulations that between them show every value of every axis."""
        axes = getattr(self.design, "axes", None)
        if axes is None:
            return range(min(len(self), 1000))
        numbers, stride = {0}, 1
        for axis in reversed(axes):
            # Seeds may be millions, and differ in nothing but their bounds: the first and the last show these.
            positions = range(len(axis)) if len(axis) <= 10_000 else (0, len(axis) - 1)
            numbers.update(stride * position for position in positions)
            stride *= len(axis)
        return sorted(numbers)

    def described(self) -> dict[str, Any]:
        """All that determines it, in plain values that JSON can hold."""
        return {
            "scenario": self.scenario,
            "model": self.model,
            "boundary": self.boundary,
            "engine": self.engine,
            "thresholds": None if self.thresholds is None else list(self.thresholds),
            **self.design.described(),
        }

    def leading_columns(self) -> tuple[Column, ...]:
        """The columns that say what was simulated; before them stands nothing, after them the features."""
        model: tuple[Column, ...] = ()
        if self.design.kind == "grid":
            model = (Column("model", "text"), Column("boundary", "text"))
            parameters: tuple[Column, ...] = tuple(
                Column(self._parameter_column(each.name), "bool" if each.kind == "bool" else "float", each.unit)
                for each in get_model(self.model).parameters
            )
        else:
            parameters = (Column("alpha", "float", "cells²/step"), Column("turing_enabled", "bool"))
            if self.design.kind == "sample":
                parameters += (Column("spike_probability", "float"), Column("turing_threshold", "float"))
        return (
            Column("sim_id", "int"),
            Column("scenario_name", "text"),
            *model,
            Column("grid_size", "int", "cells along each side"),
            Column("steps", "int"),
            *parameters,
            Column("random_seed", "int"),
        )

    def leading_values(self, number: int) -> dict[str, ParameterValue | int | str]:
        """The values of those columns in the row of one simulation."""
        settings = self.design.settings(number)
        values: dict[str, ParameterValue | int | str] = {
            **{self._parameter_column(name): value for name, value in self._parameters(settings).items()},
            "sim_id": number,
            "scenario_name": self.scenario,
            "model": self.model,
            "boundary": self.boundary or get_model(self.model).boundary,
            "grid_size": settings.grid_size,
            "steps": settings.steps,
            "random_seed": settings.seed,
        }
        return {column.name: values[column.name] for column in self.leading_columns()}

    def _parameter_column(self, name: str) -> str:
        """The column of a parameter: its name, or `parameter.NAME` where another column has that."""
        taken = name in _names_of_every_table() or name in get_model(self.model).dynamics.counters
        return f"parameter.{name}" if taken else name

    def _parameters(self, settings: Settings) -> Mapping[str, ParameterValue]:
        """Every parameter of the model as it is in force."""
        defaults = {each.name: each.default for each in get_model(self.model).parameters}
        return {name: settings.parameters.get(name, default) for name, default in defaults.items()}

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Where the plan differs from what another one `described`, a line each: `steps: 50 there, 100 here`."""
        mine = self.described()
        lines = []
        for name in sorted({*mine, *other}):
            here, there = mine.get(name, "nothing"), other.get(name, "nothing")
            if here != there:
                lines.append(f"{name}: {there} there, {here} here")
        return lines


@cache
def _names_of_every_table() -> frozenset[str]:
    """What columns, and the entries of the list of errors, are called whatever the model."""
    from mfn_model.features import FEATURE_NAMES

    first = ("sim_id", "scenario_name", "model", "boundary", "grid_size", "steps", "random_seed")
    return frozenset((*first, *FEATURE_NAMES, "growth_events", "mfn_version", "timestamp", "type", "message"))


def counter_column(name: str) -> str:
    """The column of what a model counts: its name, or `counter.NAME` where another column has that."""
    return f"counter.{name}" if name in _names_of_every_table() else name


def plan_of(described: Mapping[str, Any]) -> SweepPlan:
    """The plan that `described` told of.

    Raises:
        ValueError: it did not.
    """
    try:
        return SweepPlan(
            scenario=described["scenario"],
            model=described["model"],
            boundary=described["boundary"],
            engine=described["engine"],
            thresholds=None if described["thresholds"] is None else tuple(described["thresholds"]),
            design=design_of(described),
        )
    except (KeyError, TypeError) as wrong:
        raise ValueError(f"not the description of a sweep: {type(wrong).__name__}: {wrong}") from wrong
