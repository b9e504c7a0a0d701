"""List the field models, or describe one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mfn_model import FieldModel, Parameter, Species

__all__ = ["models"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def models(name: str | None, as_json: bool) -> None:
    """List the field models, or describe the one called NAME.

    Imports every model plugin; what is wrong with one is said on standard error. The description of a model has its
    species and equations, parameters with bounds, boundaries and source, and, for its defaults, what the linear
    analysis says of its homogeneous steady state.
    """
    from mfn.models import available_models, find_model, model_plugins
    from mfn_model import SpecError, UnknownModelError, get_model

    if name is None:
        plugins = model_plugins()
        for problem in plugins.problems:
            click.echo(problem, err=True)
        rows = [
            {"name": each.name, "summary": each.summary, "origin": plugins.origins.get(each.name, "mfn_model")}
            for each in available_models().values()
        ]
        click.echo(json.dumps({"models": rows}, ensure_ascii=False) if as_json else "\n".join(_listed(rows)))
        return
    try:
        find_model(name)
        model = get_model(name)
    except (SpecError, UnknownModelError) as wrong:
        raise _Refused(str(wrong)) from wrong
    described = describe(model)
    click.echo(json.dumps(described, ensure_ascii=False, allow_nan=False) if as_json else "\n".join(_told(described)))


class _Refused(click.ClickException):
    """A name that is refused, told in one line, with the exit status of a command line that cannot be read."""

    exit_code = 2


def describe(model: FieldModel) -> dict[str, Any]:
    """A model in plain values that JSON can hold; what is unbounded is None."""
    return {
        "name": model.name,
        "summary": model.summary,
        "source": model.source,
        "boundaries": list(model.boundaries),
        "update": model.update,
        "species": [_species(each) for each in model.species],
        "patches": None if model.patches is None else _fields(model.patches),
        "spikes": [_fields(each) for each in model.spikes],
        "kicks": [_fields(each) for each in model.kicks],
        "noises": [_fields(each) for each in model.noises],
        "parameters": [_parameter(each) for each in model.parameters],
        "instability": model.instability or None,
        "linear_analysis": _analysis(model),
    }


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _species(species: Species) -> dict[str, Any]:
    from mfn_model.equations import equation

    return {
        "name": species.name,
        "symbol": species.symbol or species.name,
        "unit": species.unit,
        "description": species.description,
        "when": species.when,
        "equation": equation(species),
        "minimum": _finite(species.minimum),
        "maximum": _finite(species.maximum),
        "outside": species.outside,
        "initial": {"kind": type(species.initial).__name__.lower(), **_fields(species.initial)},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "default": parameter.default,
        "unit": parameter.unit,
        "bound": parameter.bound,
        "minimum": _finite(parameter.minimum),
        "maximum": _finite(parameter.maximum),
        "description": parameter.description,
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _analysis(model: FieldModel) -> dict[str, Any]:
    """Of the defaults: steady state, whether it is Turing-unstable, and the wavelength that grows fastest, in cells."""
    from mfn_model import FieldSpec
    from mfn_model.linear_stability import (
        NoSteadyStateError,
        fastest_growing_wavelength,
        steady_state,
        turing_unstable,
    )

    spec = FieldSpec(model=model.name, grid_size=1, seed=0)
    try:
        state = steady_state(spec)
    except NoSteadyStateError as none:
        return {"steady_state": None, "turing_unstable": None, "wavelength": None, "reason": str(none)}
    return {
        "steady_state": state,
        "turing_unstable": turing_unstable(spec, state),
        "wavelength": fastest_growing_wavelength(spec, state),
        "reason": None,
    }


def _listed(rows: list[dict[str, str]]) -> list[str]:
    width = max(len(row["name"]) for row in rows)
    return [
        f"{row['name'].ljust(width)}  {row['summary']}"
        + ("" if row["origin"] == "mfn_model" else f" [{row['origin']}]")
        for row in rows
    ]


def _told(model: dict[str, Any]) -> list[str]:
    lines = [f"{model['name']}: {model['summary']}", f"source: {model['source']}"]
    lines.append(f"boundaries: {', '.join(model['boundaries'])}")
    order = "one after the other" if model["update"] == "sequential" else "at the same time"
    lines += ["", f"each step, {order}; L is the five-point Laplacian, in 1/cells²:"]
    lines += _aligned((each["equation"], _about(each)) for each in model["species"])
    if model["patches"] is not None:
        values = ", ".join(f"{name} = {value}" for name, value in model["patches"]["values"])
        lines.append(f"  in {model['patches']['count']} squares of side {model['patches']['side']} at first {values}")
    for each in model["spikes"]:
        spike = f"spike of {each['species']} with probability {each['probability']}"
        lines.append(f"  {spike}: N({each['mean']}, ({each['deviation']})²){_when(each)}")
    for each in model["kicks"]:
        lines.append(f"  where {each['species']} > {each['above']}: {each['target']} gains {each['amount']}")
    for each in model["noises"]:
        lines.append(f"  noise of {each['species']}: N(0, {each['variance']}){_when(each)}")
    lines += ["", "parameters:"]
    lines += _aligned(
        (f"{each['name']} = {_shown(each['default'])}", f"[{each['unit']}]", each["bound"], each["description"])
        for each in model["parameters"]
    )
    lines += ["", f"instability: {model['instability'] or 'not stated'}", *_analysed(model["linear_analysis"])]
    return lines


def _about(species: dict[str, Any]) -> str:
    ends = [end for end in (species["minimum"], species["maximum"]) if end is not None]
    within = f", {ends[0]:g} to {ends[1]:g}" if len(ends) == 2 else ""
    about = f"{species['name']} [{species['unit']}{within}]: {species['description']}{_when(species)}"
    match species["initial"]:
        case {"kind": "normal", "mean": mean, "deviation": deviation}:
            return f"{about}; begins as N({mean}, ({deviation})²)"
        case {"kind": "uniform", "low": low, "high": high}:
            return f"{about}; begins as U({low}, {high})"
        case {"value": value}:
            return f"{about}; begins as {value}"
    return about


def _when(part: dict[str, Any]) -> str:
    return f", with {part['when']}" if part["when"] else ""


def _shown(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _analysed(analysis: dict[str, Any]) -> list[str]:
    if analysis["steady_state"] is None:
        return [f"linear analysis: {analysis['reason']}"]
    state = ", ".join(
        f"{name} = {0.0 if abs(value) < 1e-12 else value:.6g}" for name, value in analysis["steady_state"].items()
    )
    lines = [f"steady state at the defaults: {state}"]
    if analysis["wavelength"] is None:
        lines.append("no wave of a finite length grows fastest around it")
    else:
        kind = "Turing-unstable" if analysis["turing_unstable"] else "unstable"
        lines.append(f"{kind}; waves of {analysis['wavelength']:.2f} cells grow fastest")
    return lines


def _aligned(rows: Any) -> list[str]:
    """Columns as wide as their widest cell; beside a first one beyond 48 the second stands on a line of its own."""
    table = [tuple(row) for row in rows]
    if not table:
        return ["  none"]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    if len(widths) == 2 and widths[0] > 48:
        return [line for row in table for line in (f"  {row[0]}", f"      {row[1]}")]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    ]
