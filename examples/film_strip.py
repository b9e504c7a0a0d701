"""Draw the frames of one simulation side by side, in one scale of colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfn import film_strip
from mfn_client import Frame

__all__ = ["draw"]


def draw(frames: Sequence[Frame], path: Path, *, title: str) -> None:
    """Write a picture of frames that carry their field; the format is that of the suffix of `path`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no frame, or one without a field.
    """
    film_strip(frames, path, title=title)
