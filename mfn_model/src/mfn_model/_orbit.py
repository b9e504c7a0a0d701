"""The orbit of a point under a given sequence of affine maps, in double precision to the last bit.

Each point needs the one before, so that a plain loop is the definition. Maps that contract forget, though: two orbits
under the same maps come together until they agree in every bit. A long sequence is therefore cut into segments that are
followed side by side, each from the origin and some maps early; where every segment then begins exactly at the end of
the one before, the pieces are the orbit. Where one does not, the plain loop decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mfn_model._affine import AffineTransform

__all__ = ["followed", "followed_in_segments", "orbit"]

FloatArray = npt.NDArray[np.float64]
Choices = npt.NDArray[np.int64]

_FORGETTING = 60.0
"""Nats of contraction after which segments have met: 37 for the 53 bits, the rest for maps drawn unevenly."""
_SHORTEST = 4096
"""Points below which the plain loop is as fast."""
_BLOCK = 65_536
"""Points that are followed at a time; a block of segments takes some 5 MB."""


def orbit(transforms: Sequence[AffineTransform], choices: Choices) -> FloatArray:
    """[n, 2] float64: the points that the chosen maps lead to, one after the other, from the origin."""
    points = np.empty((len(choices), 2))
    start = (0.0, 0.0)
    for first in range(0, len(choices), _BLOCK):
        block = choices[first : first + _BLOCK]
        found = followed_in_segments(transforms, block, start) if len(block) >= _SHORTEST else None
        if found is None:
            found = followed(transforms, block, start)
        points[first : first + _BLOCK] = found
        start = (float(found[-1, 0]), float(found[-1, 1]))
    return points


def followed(
    transforms: Sequence[AffineTransform], choices: Choices, start: tuple[float, float] = (0.0, 0.0)
) -> FloatArray:
    """The plain loop, from `start`; Python's floats do a step five times faster than NumPy's."""
    coefficients = [(each.a, each.b, each.c, each.d, each.e, each.f) for each in transforms]
    x, y = start
    flat: list[float] = []
    append = flat.append
    for a, b, c, d, e, f in map(coefficients.__getitem__, choices.tolist()):
        x, y = a * x + b * y + e, c * x + d * y + f
        append(x)
        append(y)
    return np.array(flat, dtype=np.float64).reshape(-1, 2)


def followed_in_segments(
    transforms: Sequence[AffineTransform], choices: Choices, start: tuple[float, float] = (0.0, 0.0)
) -> FloatArray | None:
    """The same points by segments, or `None` where these did not meet."""
    contraction = -math.fsum(math.log(max(each.norm, 1e-300)) for each in transforms) / len(transforms)
    early = math.ceil(_FORGETTING / contraction) if contraction > 0.0 else len(choices)
    segments = max(1, round(math.sqrt(len(choices) * 1.6)))
    length = len(choices) // segments
    if early > 4 * length:
        return None
    whole = segments * length
    begun = np.concatenate([np.zeros(early, dtype=choices.dtype), choices[:whole]])
    windows = np.lib.stride_tricks.sliding_window_view(begun, early + length)[::length]
    coefficients = np.array([(each.a, each.b, each.c, each.d, each.e, each.f) for each in transforms])
    chosen = coefficients[windows.T].transpose(0, 2, 1)  # [step, coefficient, segment]
    x = y = np.zeros(segments)
    points = np.empty((length, 2, segments))
    with np.errstate(over="ignore", invalid="ignore"):  # such segments do not meet
        for a, b, c, d, e, f in chosen[:early]:
            x, y = a * x + b * y + e, c * x + d * y + f
        x[0], y[0] = start
        begin_x, begin_y = x, y
        for step, (a, b, c, d, e, f) in enumerate(chosen[early:]):
            x, y = a * x + b * y + e, c * x + d * y + f
            points[step] = x, y
    if not (np.array_equal(begin_x[1:], x[:-1]) and np.array_equal(begin_y[1:], y[:-1])):
        return None
    met = points.transpose(2, 0, 1).reshape(whole, 2)
    rest = followed(transforms, choices[whole:], (float(met[-1, 0]), float(met[-1, 1])))
    return np.concatenate([met, rest])
