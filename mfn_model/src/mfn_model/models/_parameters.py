"""Parameters that several models have."""

from __future__ import annotations

from typing import Final

from mfn_model._parameter import Parameter

__all__ = ["MAXIMUM_DIFFUSION", "diffusion", "number", "rate"]

MAXIMUM_DIFFUSION: Final = 0.2
"""Of reacting species, in cells² a step. With a decay g a step the checkerboard is damped where 8 D + g < 2: up to 1/4
without a reaction, and up to here with one of g < 0.4, which the bounds of rates keep."""


def diffusion(name: str, default: float, of: str, *, maximum: float = MAXIMUM_DIFFUSION) -> Parameter:
    """A diffusion coefficient, from 0 to what the explicit scheme allows beside a reaction."""
    return Parameter(
        name=name,
        default=default,
        unit="cells²/step",
        description=f"diffusion coefficient of the {of}",
        minimum=0.0,
        maximum=maximum,
    )


def rate(default: float, *, maximum: float) -> Parameter:
    """How much time of the kinetics goes by in a step; wavelengths scale with √(diffusion / rate)."""
    return Parameter(
        name="rate",
        default=default,
        unit="1/step",
        description="time of the kinetics that goes by in a step",
        minimum=0.0,
        minimum_exclusive=True,
        maximum=maximum,
    )


def number(
    name: str, default: float, description: str, *, minimum: float, maximum: float, unit: str = "1"
) -> Parameter:
    """A constant of the kinetics."""
    return Parameter(name=name, default=default, unit=unit, description=description, minimum=minimum, maximum=maximum)
