"""Joining cells that touch at a corner alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mfn_model._boxes import ByteMatrix

__all__ = ["joined_at_corners"]


def joined_at_corners(matrix: ByteMatrix) -> Iterator[ByteMatrix]:
    """The mask with one cell more wherever two cells touch at a corner alone, in every way in which that can be done.

    Either of two cells joins such a pair, one on each side of it. Pairs that fall to the right have a cell above and
    one below, and so have those that rise: where both kinds are there these are four masks, where one is two, and
    where none is the mask itself. Turning or transposing the mask gives the same ones turned. It is taken as a torus.

    A line that is drawn with steps over corners has gaps, through which a box of any size can slip: at 45 degrees a
    box of w cells meets it in 2w − 1 of the positions along a step, where it would meet the line that is meant in 2w.
    With either cell added it does.
    """
    right, below = np.roll(matrix, -1, axis=1), np.roll(matrix, -1, axis=0)
    beyond = np.roll(below, -1, axis=1)
    falling = matrix & beyond & ~(right | below)
    rising = right & below & ~(matrix | beyond)
    falls = [np.roll(falling, 1, axis=axis) for axis in (1, 0)] if falling.any() else [falling]
    rises = [rising, np.roll(rising, (1, 1), axis=(0, 1))] if rising.any() else [rising]
    for fall in falls:
        for rise in rises:
            yield matrix | fall | rise
