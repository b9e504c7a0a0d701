"""Draw what a sweep found: one feature against a parameter, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfn._figures import blank, picture_format, require_matplotlib
from mfn._files import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

__all__ = ["plot_sweep"]

SETTINGS_FIRST = ("sim_id", "scenario_name", "model", "boundary", "random_seed", "mfn_version", "timestamp")
"""Columns that are no axis by themselves."""
MOST_LINES = 8
"""Values of a second parameter that still can be told apart as lines."""
FEWEST_REPEATS = 2
"""Rows at one value of the parameter from which a mean is drawn, on average; with fewer the rows themselves are."""


def plot_sweep(
    table: pa.Table | str | Path,
    feature: str,
    path: str | Path | None = None,
    *,
    over: str | None = None,
    by: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one column of a sweep's table against another.

    Where several simulations share a value of `over`, such as the seeds of a grid, every one is a point, a line joins
    their means, and a band shows the 95 % confidence interval of the mean (1.96 standard errors). Where hardly two do,
    as in a random sample, the points stand alone.

    Args:
        table: what `mfn.sweep` returned, or the path of a sweep's Parquet file or directory.
        feature: the column to draw: one of the 18 features, or a counter.
        path: write the picture there as well; the format is that of the suffix. It is replaced whole or not at all.
        over: the column along the horizontal axis; the first that varies unless given.
        by: a further column: one colour for each of its values.
        ax: draw into these axes instead of a figure of its own.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib or pyarrow is not installed.
        ValueError: there is no such column, it holds no numbers, no column varies, or the file is not Parquet.
        OSError: a file cannot be read or written.
    """
    require_matplotlib()
    target = None if path is None else Path(path)
    suffix = None if target is None else picture_format(target)
    read = _read(table) if isinstance(table, str | Path) else table
    if over is None:
        over = _first_that_varies(read, beside=(feature, by))
    x, y = _numbers(read, over), _numbers(read, feature)
    groups = [(None, np.ones(len(x), dtype=bool))] if by is None else _groups(read, by)
    if ax is None:
        figure = blank(6.8, 4.4, dpi=150)
        ax = figure.add_axes((0.115, 0.125, 0.86, 0.765))
    else:
        owner = ax.get_figure(root=True)
        if owner is None:
            raise ValueError("ax belongs to no figure; make it with figure.add_subplot()")
        figure = owner
    repeats = len(x) / max(1, len(np.unique(x)) * len(groups))
    for number, (value, rows) in enumerate(groups):
        _draw(ax, x[rows], y[rows], _colour(number, len(groups)), value, means=repeats >= FEWEST_REPEATS)
    _furnish(ax, read, over, feature, by, groups=len(groups), means=repeats >= FEWEST_REPEATS)
    if target is not None:
        with replacing(target) as file:
            figure.savefig(file, format=suffix)
    return ax


def _draw(
    ax: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], colour: Any, label: str | None, *, means: bool
) -> None:
    known = np.isfinite(y)
    x, y = x[known], y[known]
    size, alpha = (9, 0.35) if means else (14, 0.7)
    ax.scatter(x, y, s=size, color=colour, alpha=alpha, linewidths=0, label=None if means else label, zorder=2)
    if not means or len(x) == 0:
        return
    values = np.unique(x)
    columns = [y[x == value] for value in values]
    mean = np.array([column.mean() for column in columns])
    error = np.array(
        [1.96 * column.std(ddof=1) / np.sqrt(len(column)) if len(column) > 1 else np.nan for column in columns]
    )
    ax.fill_between(values, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0, zorder=1)
    ax.plot(values, mean, color=colour, marker="o", markersize=4.5, linewidth=1.8, label=label, zorder=3)


def _furnish(ax: Axes, table: pa.Table, over: str, feature: str, by: str | None, *, groups: int, means: bool) -> None:
    """Labels, title, legend and a quiet frame."""
    ax.set_xlabel(_label(over, table))
    ax.set_ylabel(_label(feature, table))
    name = str(table["scenario_name"][0]) if "scenario_name" in table.column_names and table.num_rows else "sweep"
    said = f"{name}: {table.num_rows} simulations"
    if means:
        said += ", means with 95 % confidence"
    ax.set_title(said, loc="left", fontsize="medium")
    ax.margins(x=0.03)
    ax.ticklabel_format(useOffset=False)
    ax.grid(visible=True, color="#d9d9d9", linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if by is not None:
        ax.legend(title=_label(by, table), frameon=False, fontsize="small", ncols=2 if groups > 4 else 1)


def _colour(number: int, count: int) -> Any:
    """From the perceptually uniform scale `viridis`, without its palest end."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.25 if count == 1 else 0.85 * number / (count - 1))


def _label(name: str, table: pa.Table) -> str:
    from mfn_model.features import FEATURE_NAMES

    unit = _unit(name, table)
    words = name if name in FEATURE_NAMES else name.replace("_", " ")
    return f"{words} ({unit})" if unit else words


def _unit(name: str, table: pa.Table) -> str:
    """As the table says it of its column."""
    metadata = table.schema.field(name).metadata or {}
    unit: str = metadata.get(b"unit", b"1").decode()
    return "" if unit == "1" else unit


def _read(path: str | Path) -> pa.Table:
    from mfn.sweeps import read_table

    return read_table(path)


def _first_that_varies(table: pa.Table, beside: Sequence[str | None]) -> str:
    """The first setting with more than one value: the axis that a person who names none means."""
    names: list[str] = table.column_names
    for name in names:
        if name == "D_box":
            break  # features begin here
        if name not in SETTINGS_FIRST and name not in beside and len(table[name].unique()) > 1:
            return name
    raise ValueError("no parameter varies in this table; name a column with over")


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    if name not in table.column_names:
        from mfn_core.config import suggest

        raise ValueError(f"the table has no column {name!r}; {suggest(name, table.column_names)}")
    import pyarrow as pa

    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        raise ValueError(f"column {name!r} holds {column.type}, and no numbers to draw")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _groups(table: pa.Table, by: str) -> list[tuple[str | None, npt.NDArray[np.bool_]]]:
    if by not in table.column_names:
        from mfn_core.config import suggest

        raise ValueError(f"the table has no column {by!r}; {suggest(by, table.column_names)}")
    column = np.asarray(table[by].to_pylist())
    values = sorted(set(column.tolist()))
    if len(values) > MOST_LINES:
        raise ValueError(f"column {by!r} has {len(values)} values, and {MOST_LINES} lines can be told apart")
    return [(_shown(value), column == value) for value in values]


def _shown(value: float | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return format(value, "g") if isinstance(value, float) else str(value)
