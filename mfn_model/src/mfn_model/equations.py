"""What a step of a model does, as a person reads it.

>>> from mfn_model import GRAY_SCOTT
>>> equation(GRAY_SCOTT.species[0])
'v <- v + (d_v * L(v) + (u * v**2 - (feed + kill) * v))'
>>> step_events(GRAY_SCOTT)
('in seeds squares of side seed_side at first substrate = 0.5, autocatalyst = 0.25',)
"""

from __future__ import annotations

from mfn_model._declaration import FieldModel
from mfn_model._species import Constant, Normal, Species, Uniform
from mfn_model.expressions import Binary, Expression, Function, Name, parse

__all__ = ["equation", "initial_text", "step_events"]


def equation(species: Species) -> str:
    """The update of a species, its sums in the order in which they are computed; L is the five-point Laplacian."""
    symbol = Name(species.symbol or species.name)
    terms: list[Expression] = []
    if species.diffusion:
        terms.append(Binary("*", parse(species.diffusion), Function("L", (symbol,))))
    if species.reaction:
        terms.append(parse(species.reaction))
    if not terms:
        return f"{symbol} stays"
    change = terms[0] if len(terms) == 1 else Binary("+", *terms)
    return f"{symbol} <- {Binary('+', symbol, change)}"


def initial_text(species: Species) -> str:
    """How a species begins: `N(mean, (deviation)²)`, `U(low, high)`, or the formula of a value."""
    match species.initial:
        case Normal(mean=mean, deviation=deviation):
            return f"N({mean}, ({deviation})²)"
        case Uniform(low=low, high=high):
            return f"U({low}, {high})"
        case Constant(value=value):
            return value


def step_events(model: FieldModel) -> tuple[str, ...]:
    """What happens beside the updates, one line each: squares of the initial state, spikes, kicks, noise."""
    lines = []
    if model.patches is not None:
        values = ", ".join(f"{name} = {value}" for name, value in model.patches.values)
        lines.append(f"in {model.patches.count} squares of side {model.patches.side} at first {values}")
    for spike in model.spikes:
        about = f"spike of {spike.species} with probability {spike.probability}"
        lines.append(f"{about}: N({spike.mean}, ({spike.deviation})²){_when(spike.when)}")
    for kick in model.kicks:
        lines.append(f"where {kick.species} > {kick.above}: {kick.target} gains {kick.amount}")
    for noise in model.noises:
        lines.append(f"noise of {noise.species}: N(0, {noise.variance}){_when(noise.when)}")
    return tuple(lines)


def _when(switch: str | None) -> str:
    return f", with {switch}" if switch else ""
