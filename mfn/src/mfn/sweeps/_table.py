"""The table of a sweep: its columns, and writing it as Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfn._files import replacing, sync_directory
from mfn.sweeps._measuring import feature_config, feature_units
from mfn.sweeps._plan import Column, SweepPlan, counter_column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COUNTERS", "INSTALL", "TABLE", "columns", "read_table", "require_pyarrow", "table_header", "write_table"]

INSTALL = 'a sweep writes Parquet with pyarrow; install it with: pip install "mycelium-fractal-net[sweep]"'

TABLE = "dataset.parquet"
"""Name of the table in the directory of its sweep."""

COUNTERS = ("turing_activations", "clamping_events")
"""What the mycelium models count beside growth events; the columns of scenarios and samples have these alone."""

METADATA = b"mfn.sweep"
"""Key of the file's metadata under which the description of the sweep stands."""

ROWS_PER_GROUP = 8192


def require_pyarrow() -> None:
    """Raise `ImportError` with the way to install pyarrow where it is not installed."""
    try:
        import pyarrow  # noqa: F401 - only whether it is there
    except ImportError as missing:
        raise ImportError(INSTALL) from missing


def columns(plan: SweepPlan, counters: Sequence[str]) -> tuple[Column, ...]:
    """Every column in its order; `counters` are those that the outcomes of a grid have."""
    units = feature_units(feature_config(plan.model, plan.thresholds))
    further = (Column("mfn_version", "text"), Column("timestamp", "text")) if plan.design.kind == "sample" else ()
    return (
        *plan.leading_columns(),
        *(Column(name, "float", unit) for name, unit in units.items()),
        Column("growth_events", "int"),
        *(Column(counter_column(name), "int") for name in (counters if plan.design.kind == "grid" else COUNTERS)),
        *further,
    )


def write_table(
    plan: SweepPlan,
    outcomes: Iterable[Mapping[str, Any]],
    path: Path,
    *,
    counters: Sequence[str],
    header: Mapping[str, Any],
    started: str,
) -> None:
    """Write the table whole or not at all, and force it to the disk. The same arguments give the same bytes.

    Args:
        plan: of the sweep.
        outcomes: in the order of the rows; none is a failure.
        path: the file.
        counters: the columns of a grid for what its model counts.
        header: what `table_header` shall give; it has the `versions`.
        started: when the sweep began, as the columns of a sample say it.

    Raises:
        OSError: it cannot be written; what `path` was is as it was.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    laid_out = columns(plan, counters)
    schema = pa.schema(
        [pa.field(column.name, _type(column), metadata={b"unit": column.unit.encode()}) for column in laid_out],
        metadata={METADATA: json.dumps(dict(header), sort_keys=True, ensure_ascii=False).encode()},
    )
    constants = {"mfn_version": header["versions"]["mfn"], "timestamp": started}
    with replacing(path) as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in _groups(outcomes):
                writer.write_table(_batch(plan, rows, constants, laid_out, schema))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def table_header(path: Path) -> Mapping[str, Any] | None:
    """What `write_table` was given as the header; None for a file that it did not write.

    Raises:
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:
        return None
    try:
        header = json.loads(metadata.get(METADATA, b"null"))
    except ValueError:
        return None
    return header if isinstance(header, dict) else None


def read_table(path: str | Path) -> pa.Table:
    """The table of a sweep's Parquet file, or of the directory that holds it as `dataset.parquet`.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: the file is not Parquet.
        OSError: it cannot be read.
    """
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path)
    if file.is_dir():
        file = file / TABLE
    try:
        with file.open("rb") as opened:
            return pq.read_table(opened)
    except pa.ArrowInvalid as wrong:
        raise ValueError(f"{file} is not Parquet: {wrong}") from wrong


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    return {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}[column.type]


def _groups(outcomes: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    for outcome in outcomes:
        group.append(outcome)
        if len(group) == ROWS_PER_GROUP:
            yield group
            group = []
    if group:
        yield group


def _batch(
    plan: SweepPlan,
    outcomes: Sequence[Mapping[str, Any]],
    constants: Mapping[str, str],
    laid_out: Sequence[Column],
    schema: pa.Schema,
) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            **constants,
            **dict.fromkeys(COUNTERS, 0),
            **{counter_column(name): count for name, count in outcome["counters"].items()},
            **outcome["features"],
            "growth_events": outcome["growth_events"],
            **plan.leading_values(outcome["sim_id"]),
        }
        for outcome in outcomes
    ]
    arrays = [pa.array([row.get(column.name) for row in rows], _type(column)) for column in laid_out]
    return pa.Table.from_arrays(arrays, schema=schema)
