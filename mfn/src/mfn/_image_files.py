"""Read an image as numbers: pictures with Pillow, arrays with NumPy, tables as text.

Pillow is imported when a picture is read, and not before.
"""

from __future__ import annotations

import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

__all__ = ["MAXIMUM_CELLS", "SUFFIXES", "Image", "UnreadableError", "image_of_array", "mapped_array", "read_image"]

INSTALL = 'reading pictures needs Pillow; install it with: pip install "mycelium-fractal-net[images]"'

MAXIMUM_CELLS = 100_000_000
"""Pixels of an image, or cells of a frame: beyond it a few bytes of a file could ask for all memory."""

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
TABLES = (".csv", ".tsv", ".txt")
SUFFIXES = (*PICTURES, ".npy", ".npz", *TABLES)
"""What a file name may end in."""

LUMA = (2126, 7152, 722)
"""Weights of red, green and blue in the luma of ITU-R BT.709, of 10,000. They are applied to the levels as stored and
in whole numbers, so that a grey picture has the same values, to the last bit, when it is stored in colour."""

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error)
"""What Pillow raises for files that are damaged."""

_NO_ARRAY = (
    *(ValueError, EOFError, TypeError, OverflowError, KeyError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What NumPy and the archives below it raise for files that are damaged, locked, or of objects."""

_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339
"""Tags of a TIFF."""


class UnreadableError(ValueError):
    """A file whose content is not what it should be."""


@frozen(kw_only=True, eq=False)
class Image:
    """Numbers in rows and columns, perhaps several frames of them."""

    frames: npt.NDArray[Any]
    """[rows, columns] or [frames, rows, columns], a real type, as stored."""
    unit: str
    """`level` for the levels of a picture, `1` for other numbers."""
    alpha: npt.NDArray[np.float64] | None = None
    """Opacity of each pixel, 0 … 1; `None` where everything is opaque."""
    full_scale: float = 1.0
    """The level of white."""
    page: int = 1
    """Which page or frame it is, from 1."""
    pages: int = 1
    """How many the file has."""
    kind: str = ""
    """What it was read from: `8 bit grey PNG`, `float64 array`."""


def read_image(path: Path, *, page: int | None = None, array: str | None = None) -> Image:
    """Read a file; see `mfn.measurement.features` for the formats and what `page` and `array` choose.

    Raises:
        ImportError: a picture, and Pillow is not installed; the text says how to install it.
        UnreadableError: the content is damaged, empty or of another kind than the name says.
        ValueError: the suffix is unknown, or `page` or `array` name what is not there.
        OSError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} does not end in a known suffix; use one of: {', '.join(SUFFIXES)}")
    if array is not None and suffix != ".npz":
        raise ValueError(f"an array has a name in an .npz file alone; {path.name} is none")
    if suffix in PICTURES:
        return _picture(path, page)
    if suffix in TABLES:
        return image_of_array(_table(path), page=page, kind="table")
    stored = _stored_array(path, array) if suffix == ".npz" else mapped_array(path)
    try:
        return image_of_array(stored, page=page)
    except UnreadableError as wrong:
        raise UnreadableError(f"{path}: {wrong}") from wrong


def image_of_array(values: npt.ArrayLike, *, page: int | None = None, kind: str = "") -> Image:
    """An array as an image: [rows, columns]; whole numbers [rows, columns, 3 or 4] are colours; others are frames.

    Raises:
        UnreadableError: it has other axes, no cells, too many, or no real numbers.
        ValueError: `page` is no frame of it.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise UnreadableError("an image has a number everywhere, got a masked array; give its .filled(…)")
    stored = np.asanyarray(values)  # a memory map stays one
    if stored.dtype.kind not in "buif":
        raise UnreadableError(f"an image holds real numbers, got type {stored.dtype}")
    if stored.ndim not in (2, 3) or stored.size == 0:
        raise UnreadableError(
            "an image has rows and columns, perhaps frames before or colours after them, and is not empty; "
            f"got shape {stored.shape}"
        )
    kind = kind or f"{stored.dtype.name} array"
    levels = stored.dtype.kind == "u" and stored.dtype.itemsize in (1, 2)  # in either byte order
    coloured = stored.ndim == 3 and stored.shape[2] in (3, 4) and levels
    rows, columns = stored.shape[:2] if stored.ndim == 2 or coloured else stored.shape[1:]
    _require_size(rows, columns)
    if coloured:
        _chosen_page(page, 1, "the array")
        return _coloured(stored, kind)
    frames = stored.shape[0] if stored.ndim == 3 else 1
    number = _chosen_page(page, frames, "the array")
    if stored.ndim == 3 and page is not None:
        stored = stored[number - 1]
    full_scale = float(np.iinfo(stored.dtype).max) if levels else 1.0
    # Of several frames the last is what is measured, where none was chosen.
    return Image(
        frames=stored,
        unit="level" if levels else "1",
        full_scale=full_scale,
        page=frames if page is None else number,
        pages=frames,
        kind=kind,
    )


def _coloured(stored: npt.NDArray[Any], kind: str) -> Image:
    """Whole numbers in three or four channels, as luma and opacity."""
    full_scale = float(np.iinfo(stored.dtype).max)
    weighted = sum(stored[..., channel].astype(np.int64) * weight for channel, weight in enumerate(LUMA))
    luma = np.asarray(weighted / sum(LUMA))
    alpha = stored[..., 3] / full_scale if stored.shape[2] == 4 else None
    return Image(frames=luma, unit="level", alpha=_translucent(alpha), full_scale=full_scale, kind=kind)


def _translucent(alpha: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
    return None if alpha is None or bool((alpha == 1.0).all()) else alpha


def _require_size(rows: int, columns: int) -> None:
    if rows * columns > MAXIMUM_CELLS:
        raise UnreadableError(
            f"an image of {rows} × {columns} is beyond the bound of {MAXIMUM_CELLS} pixels; cut or shrink it"
        )


def _chosen_page(page: int | None, pages: int, owner: str) -> int:
    number = 1 if page is None else page
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise ValueError(f"page must be a whole number, got {page!r}")
    if not 1 <= number <= pages:
        there = "there is one page" if pages == 1 else f"there are {pages} pages"
        raise ValueError(f"{owner} has no page {number}; {there}, counted from 1")
    return int(number)


def _picture(path: Path, page: int | None) -> Image:
    try:
        from PIL import Image as Pillow
        from PIL import ImageOps, UnidentifiedImageError
    except ImportError as missing:
        raise ImportError(INSTALL) from missing
    with path.open("rb") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on large pictures, which have a bound here, and on odd tags
                opened = Pillow.open(file, formats=("PNG", "TIFF", "JPEG"))
                _require_size(opened.height, opened.width)
                pages = int(getattr(opened, "n_frames", 1))
        except (UnreadableError, Pillow.DecompressionBombError) as large:
            raise UnreadableError(f"{path}: {large}") from large
        except UnidentifiedImageError as wrong:
            raise UnreadableError(f"{path} is no PNG, TIFF or JPEG picture that can be read") from wrong
        except _BROKEN as wrong:
            raise UnreadableError(f"{path} is damaged: {wrong}") from wrong
        number = _chosen_page(page, pages, path.name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                opened.seek(number - 1)
                _require_size(opened.height, opened.width)
                opened.load()
                ImageOps.exif_transpose(opened, in_place=True)
                image = _pixels(opened)
        except _BROKEN as wrong:
            raise UnreadableError(f"{path} is damaged: {wrong}") from wrong
    return Image(
        frames=image.frames,
        unit=image.unit,
        alpha=image.alpha,
        full_scale=image.full_scale,
        page=number,
        pages=pages,
        kind=f"{image.kind} {opened.format}",
    )


_GREY_BITS = {"1": 8, "L": 8, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


def _pixels(opened: Any) -> Image:
    """The pixels of a page that Pillow has loaded."""
    mode = opened.mode
    if opened.format == "TIFF" and mode in ("I", "L") and (numbers := _whole_numbers(opened)) is not None:
        return Image(frames=numbers, unit="1", kind=f"{numbers.dtype.itemsize * 8} bit grey")
    if mode in ("I", "F"):
        depth = "32 bit" if mode == "I" else "32 bit float"
        return Image(frames=np.array(opened), unit="1", kind=f"{depth} grey")
    translucent = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in opened.info
    bits = _GREY_BITS.get(mode)
    if bits is not None and (not translucent or bits == 16):
        stored = np.array(opened.convert("L") if mode == "1" else opened)
        # Pillow makes nothing transparent in 16 bits, and turns round no white that is zero.
        clear = opened.info.get("transparency")
        alpha = None if clear is None else (stored != clear).astype(np.float64)
        if bits == 16 and opened.format == "TIFF" and opened.tag_v2.get(_PHOTOMETRIC) == 0:
            stored = np.iinfo(np.uint16).max - stored
        return Image(
            frames=stored,
            unit="level",
            alpha=_translucent(alpha),
            full_scale=float(2**bits - 1),
            kind=f"{bits} bit grey{'' if alpha is None else ' with alpha'}",
        )
    colours = np.array(opened.convert("RGBA" if translucent else "RGB"))
    name = "grey" if mode in ("1", "L", "LA", "La") else "colour"
    return _coloured(colours, f"8 bit {name}{' with alpha' if translucent else ''}")


def _whole_numbers(opened: Any) -> npt.NDArray[Any] | None:
    """The numbers of a TIFF of signed bytes or unsigned words, whose signs Pillow does not tell; `None` for others."""
    signed, bits = opened.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == 2, opened.tag_v2.get(_BITS, (1,))[0]
    if signed and bits == 8:
        return np.array(opened).view(np.int8)
    if not signed and bits == 32:
        return np.array(opened).view(np.uint32)
    return None


@contextmanager
def _reading_numbers(path: Path, suffix: str) -> Iterator[None]:
    """Raise `UnreadableError` for whatever NumPy says of a damaged file."""
    try:
        yield
    except _NO_ARRAY as wrong:
        raise UnreadableError(f"{path} is no {suffix} file of numbers: {_first_line(wrong)}") from wrong
    except OSError as failed:
        if failed.filename is not None:
            raise
        # A place that lies outside the file.
        raise UnreadableError(f"{path} is no {suffix} file of numbers: {failed}") from failed


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array of an .npy file as a map of it, so that of a long history one frame at a time is in memory.

    Raises:
        UnreadableError: the content is damaged, of objects, or of another kind.
        OSError: the file cannot be read.
    """
    with _reading_numbers(path, ".npy"):
        return np.lib.format.open_memmap(path, mode="r")


def _stored_array(path: Path, name: str | None) -> npt.NDArray[Any]:
    with _reading_numbers(path, ".npz"), zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
    if name is None and len(sizes) != 1:
        raise ValueError(f"{path} has {len(sizes)} arrays; choose one of: {', '.join(sizes) or 'none'}")
    name = next(iter(sizes)) if name is None else name
    if name not in sizes:
        raise ValueError(f"{path} has no array {name!r}; there is: {', '.join(sizes) or 'none'}")
    if sizes[name] > 16 * MAXIMUM_CELLS:
        raise UnreadableError(f"{path}: array {name!r} has {sizes[name]} bytes; save it as .npy, or cut it")
    with _reading_numbers(path, ".npz"), np.load(path, allow_pickle=False) as loaded:
        return np.asarray(loaded[name])


def _table(path: Path) -> npt.NDArray[np.float64]:
    """Numbers in lines, separated by semicolons, tabs, commas or blanks, the first of these that occurs.

    Where semicolons or tabs separate, a comma is a decimal point. Empty lines, and what follows a `#`, are left out.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise UnreadableError(f"{path} is no text: byte {wrong.start} is not UTF-8") from wrong
    # What stands before a first tab is a cell, even where it is empty.
    lines = [(number, line.partition("#")[0].rstrip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise UnreadableError(f"{path} holds no numbers")
    separator = next((each for each in ";\t," if each in lines[0][1]), None)
    rows = []
    for number, line in lines:
        if separator in (";", "\t"):
            line = line.replace(",", ".")
        cells = line.split(separator)
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError as wrong:
            raise UnreadableError(f"{path}, line {number}: {wrong}") from wrong
        if len(rows[-1]) != len(rows[0]):
            raise UnreadableError(
                f"{path}, line {number}: {len(rows[-1])} numbers, where line {lines[0][0]} has {len(rows[0])}"
            )
    return np.array(rows)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
