"""Tables on a terminal, and the same tables as plain text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

import click
from attrs import frozen

__all__ = ["Table", "show"]


@frozen(kw_only=True)
class Table:
    """Rows under a title. Where every row is one cell, the columns need no names."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]]


def show(tables: Sequence[Table]) -> None:
    """Print tables to standard output: with rich where it is installed and this is a terminal, as text elsewhere."""
    if sys.stdout.isatty() and find_spec("rich") is not None:
        _show_rich(tables)
        return
    for number, table in enumerate(tables):
        if number:
            click.echo()
        click.echo(table.title)
        rows = [list(table.columns), *table.rows] if table.columns else list(table.rows)
        if not table.rows:
            rows = [["none"]]
        widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            click.echo("  " + "  ".join(cells).rstrip())


def _show_rich(tables: Sequence[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for table in tables:
        grid = RichTable(title=table.title, title_justify="left", show_header=bool(table.columns), box=None)
        for column in table.columns or [""] * max((len(row) for row in table.rows), default=1):
            grid.add_column(column, overflow="fold")
        for row in table.rows or [["none"]]:
            grid.add_row(*(Text(cell) for cell in row))  # Text: a bracket of a setting is no markup
        console.print(grid)
        console.print()
