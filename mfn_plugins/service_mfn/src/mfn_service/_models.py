"""Models by name: which one a request means, and what the request says of that model's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import field, frozen

from mfn_core import Code, MfnError
from mfn_model import MODELS, MYCELIUM, MYCELIUM_RD, FieldModel, FieldSpec, Parameter, ParameterValue
from mfn_service._limits import Breach

__all__ = ["HISTORIC", "POTENTIAL", "Own", "Wanted", "known_model", "names_potential", "potential_breaches"]

POTENTIAL = "V"
"""Unit of a field that is a potential."""

HISTORIC = frozenset({MYCELIUM.name, MYCELIUM_RD.name})
"""Models that requests were made for before they could name any: what such a request leaves unset is what stands at
its fields, which need not be the model's own default."""

LONGEST_NAME = 64
"""Characters of a parameter's name; a longer one is nobody's, and is not compared with those that there are."""


def known_model(name: str) -> FieldModel:
    """The model of that name.

    Raises:
        MfnError: UNIMPLEMENTED, when this server does not know it.
    """
    model = MODELS.get(name)
    if model is None:
        raise MfnError(
            Code.UNIMPLEMENTED,
            f"this server has no model {name!r}; it has: {', '.join(sorted(MODELS))}",
            reason="the server has no such model",
            details={"model": name},
        )
    return model


def names_potential(model: FieldModel) -> bool:
    """Whether the model's field is a potential."""
    return model.species[0].unit == POTENTIAL


def potential_breaches(model: FieldModel, path: str) -> Iterator[Breach]:
    """What keeps a model out of packages that tell potentials in mV."""
    if not names_potential(model):
        of, unit = model.species[0].name, model.species[0].unit
        able = ", ".join(name for name, each in sorted(MODELS.items()) if names_potential(each))
        yield Breach(
            field=path,
            description=f"got {model.name!r}, whose field is {of!r} in the unit {unit!r}, and this package tells "
            f"potentials in mV; take one of {able}, or mfn.v1.FieldService",
        )


@frozen(kw_only=True)
class Own:
    """A parameter for which a request has a field of its own."""

    path: str
    """Of the field."""
    value: ParameterValue | None
    """What it means; None: the model's default."""
    sent: bool
    """Whether the request says it."""


@frozen(kw_only=True)
class Wanted:
    """What a request asks of a model, before the model has been asked about it."""

    model: FieldModel
    grid_size: int = 1
    seed: int = 0
    boundary: str = ""
    own: Mapping[str, Own] = field(factory=dict)
    """Parameters with fields of their own, by name."""
    named: Mapping[str, float] = field(factory=dict)
    """Parameters by name."""
    named_path: str = "parameters"
    """Of the map of the latter."""
    prefix: str = ""
    """Of the paths of `boundary`, `grid_size` and `seed`."""

    def breaches(self) -> list[Breach]:
        """Everything that the model refuses, each under its path in the request."""
        return self._examined()[1]

    def spec(self) -> FieldSpec:
        """The specification.

        Raises:
            MfnError: INVALID_ARGUMENT, with all that the model refuses.
        """
        values, found = self._examined()
        if found:
            raise MfnError.invalid(each.violation() for each in found)
        return FieldSpec(
            model=self.model.name,
            grid_size=self.grid_size,
            seed=self.seed,
            parameters=values,
            boundary=self.boundary,
        )

    def _examined(self) -> tuple[dict[str, ParameterValue], list[Breach]]:
        values, found = self._stated()
        refused = FieldSpec.violations(
            model=self.model.name,
            grid_size=self.grid_size,
            seed=self.seed,
            parameters=values,
            boundary=self.boundary,
        )
        for each in refused:
            found.append(Breach(field=self.path(each.field), description=_with_remedy(each.message)))
        return values, found

    def _stated(self) -> tuple[dict[str, ParameterValue], list[Breach]]:
        """The values that the request states, as the model's parameters have them, and what cannot be one."""
        declared = {parameter.name: parameter for parameter in self.model.parameters}
        values: dict[str, ParameterValue] = {}
        found: list[Breach] = []
        for name, own in self.own.items():
            if name in declared:
                if own.value is not None:
                    values[name] = own.value
            elif own.sent:
                found.append(
                    Breach(
                        field=own.path,
                        description=f"got {_shown(own.value)}, and model {self.model.name!r} has no parameter {name}; "
                        "leave it unset",
                    )
                )
        for name, number in self.named.items():
            path = self.path(name)
            if len(name) > LONGEST_NAME:
                found.append(
                    Breach(
                        field=path,
                        description=f"got a name of {len(name)} characters, and no parameter has more than "
                        f"{LONGEST_NAME}; ask ModelService for the names",
                    )
                )
            elif name in self.own and self.own[name].sent:
                found.append(
                    Breach(
                        field=path,
                        description=f"got {number!r}, and {self.own[name].path} says it too; send one of them",
                    )
                )
            else:
                value = _as_kind(declared.get(name), number)
                if value is None:
                    found.append(Breach(field=path, description=f"got {number!r}, and {name} is a switch; send 1 or 0"))
                else:
                    values[name] = value
        return values, found

    def path(self, name: str) -> str:
        """Where the request says a parameter, or one of the other arguments of a specification."""
        if name in ("boundary", "grid_size", "model", "seed"):
            return f"{self.prefix}{name}"
        if name == "parameters" and name not in self.named:
            return self.named_path
        own = self.own.get(name)
        return own.path if own is not None and name not in self.named else f"{self.named_path}[{name[:LONGEST_NAME]}]"


def _as_kind(parameter: Parameter | None, number: float) -> ParameterValue | None:
    """The number as the parameter takes it; None for a switch that is neither on nor off."""
    if parameter is None or parameter.kind != "bool":
        return number
    return bool(number) if number in (0.0, 1.0) else None


def _shown(value: ParameterValue | None) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _with_remedy(message: str) -> str:
    """A model's refusal, which says value and bound, with what to do about it."""
    return f"{message}; send a value within it" if message.rpartition("; ")[2].startswith("the bound is") else message
