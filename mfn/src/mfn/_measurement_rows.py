"""A measurement as a person reads it: lines of name, value and unit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mfn_model.dimension import DimensionEstimate

if TYPE_CHECKING:
    from rich.table import Table

    from mfn.measurement import Measurement

__all__ = ["html", "rows", "table"]

Row = tuple[str, str, str]

DIMENSIONS = {
    "nested_boxes": "nested boxes",
    "offset_averaged": "averaged boxes",
    "information": "information",
    "correlation": "correlation",
}


def rows(measured: Measurement) -> list[Row]:
    """Names, values and units; a name with neither is the heading of what follows."""
    return [
        *_image_rows(measured),
        ("dimension, with 95 % interval", "", ""),
        *((DIMENSIONS[name], _estimate(found), "") for name, found in measured.dimensions().items()),
        ("features", "", ""),
        *_feature_rows(measured),
        *(("warning", str(warning), "") for warning in measured.warnings),
    ]


def table(measured: Measurement) -> Table:
    """The rows for a terminal."""
    from rich.table import Table
    from rich.text import Text

    found = Table(show_header=False, box=None, pad_edge=False)
    found.add_column(style="bold", no_wrap=True)
    found.add_column(overflow="fold")
    found.add_column(style="dim", no_wrap=True)
    for name, value, unit in rows(measured):
        if not value:
            found.add_row()
            found.add_row(Text(name, style="cyan"))
        else:
            found.add_row(Text(name), Text(value), Text(unit))  # Text: a bracket in a name is no markup
    return found


def html(measured: Measurement) -> str:
    """The rows for a notebook."""
    lines = []
    for name, value, unit in rows(measured):
        if not value:
            lines.append(f'<tr><th colspan="2" style="text-align:left;padding-top:1em">{escape(name)}</th></tr>')
            continue
        shown = f"{value} {unit}" if unit else value
        lines.append(f'<tr><th style="text-align:left">{escape(name)}</th><td>{escape(shown)}</td></tr>')
    return f"<table>{''.join(lines)}</table>"


def _image_rows(measured: Measurement) -> list[Row]:
    image, config = measured.image, measured.config
    height, width = measured.mask.shape
    size = f"{height} × {width} pixels"
    if config.length_unit != "cells":
        length = config.cell_length
        size += f", {_number(height * length)} × {_number(width * length)} {config.length_unit}"
    page = f", page {image.page} of {image.pages}" if image.pages > 1 else ""
    cells = int(measured.mask.sum())
    covered = f"{cells} pixels ({100 * measured.features.f_active:.2f} %)"
    if config.length_unit != "cells":
        covered += f", {_number(cells * config.cell_length**2)} {config.length_unit}²"
    return [
        ("image", f"{measured.name}{page}", ""),
        ("kind", image.kind, ""),
        ("size", size, ""),
        ("threshold", measured.threshold_words, ""),
        ("mask", covered, ""),
    ]


def _estimate(found: DimensionEstimate) -> str:
    if found.value is None:
        return f"undefined: {found.reason}"
    if found.interval is None:
        return f"{found.value:.4f}, from two scales"
    half = (found.interval[1] - found.interval[0]) / 2
    return f"{found.value:.4f} ± {half:.4f}, R² {found.r_squared:.4f}"


def _feature_rows(measured: Measurement) -> list[Row]:
    undefined = dict(measured.features.undefined)
    further = measured.extended
    found: list[Row] = []
    for name, unit in zip(measured.features.names, measured.features.units, strict=True):
        if name in undefined:
            found.append((name, f"0, undefined: {undefined[name]}", ""))
        else:
            found.append((name, _number(measured.features[name]), _unit(unit)))
    for (name, value), unit in zip(further.as_dict().items(), further.units, strict=True):
        found.append((name, "undefined" if value is None else _number(value), _unit(unit) if value is not None else ""))
    return found


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _number(value: float) -> str:
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return str(int(value))
    return f"{value:.6g}"
