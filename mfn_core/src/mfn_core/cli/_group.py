"""A group of commands that are found without being imported."""

from __future__ import annotations

import errno
import os
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import click

from mfn_core.cli._summary import summary_of

__all__ = ["COMMANDS_GROUP", "LazyGroup"]

COMMANDS_GROUP = "mfn.commands.v1"

INTERRUPTED = 130
"""Exit status of a command that was interrupted, as shells give it: 128 and the number of SIGINT."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to a file fails with that has been opened."""


class _Source(NamedTuple):  # not an attrs class: importing attrs would be a fifth of what `mfn --help` takes
    """Where a command comes from."""

    target: str
    """`package.module:click_command`."""
    distribution: str = ""
    """`mfn-auth-hmac 0.1.0`; empty for a command of the kernel."""
    entry: EntryPoint | None = None

    def summary(self) -> str:
        """One line on what it does: from its source, else its distribution's own."""
        found = summary_of(self.target)
        if not found and self.entry is not None and self.entry.dist is not None:
            metadata = self.entry.dist.metadata
            found = metadata["Summary"] or "" if "Summary" in metadata else ""
        return found


class LazyGroup(click.Group):
    """Built-in commands and those of the entry-point group, each imported when it is run."""

    def __init__(self, *args: Any, built_in: Mapping[str, str], **kwargs: Any) -> None:
        """Take `built_in` as name → `package.module:click_command`; a distribution cannot replace one of them."""
        super().__init__(*args, **kwargs)
        self._built_in = dict(built_in)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, the kernel's first."""
        names = self._sources(ctx)
        return [*self._built_in, *sorted(name for name in names if name not in self._built_in)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command.

        Raises:
            click.ClickException: it cannot be imported, is no command, or two distributions provide it.
        """
        sources = self._sources(ctx).get(cmd_name)
        if sources is None:
            return None
        if len(sources) > 1:
            where = " and ".join(source.distribution for source in sources)
            raise click.ClickException(f"command {cmd_name!r} is provided by {where}; uninstall one of them")
        return _load(cmd_name, sources[0])

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but an interrupted command has a status of its own, and a full disk behind `>` is one line."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as failed:
            if failed.filename is not None or failed.errno not in _NO_ROOM:
                raise
            _forget_output()
            raise click.ClickException(f"the output cannot be written: {str(failed.strerror).lower()}") from failed

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is answered with the nearest known one."""
        name = args[0]
        if not name.startswith("-") and name not in self._sources(ctx):
            # Its other names are not imported for an answer that only names them.
            from mfn_core.config import suggest

            ctx.fail(f"no such command {name!r}; {suggest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the first line of what each says of itself."""
        names = self.list_commands(ctx)
        room = formatter.width - 6 - max(map(len, names))
        rows = [(name, _short(self._sources(ctx)[name], room)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _sources(self, ctx: click.Context) -> Mapping[str, Sequence[_Source]]:
        """Every command by name; kept for one run, because looking through all metadata takes its time."""
        kept: dict[str, list[_Source]] | None = ctx.meta.get(__name__)
        if kept is not None:
            return kept
        found = {name: [_Source(target=target)] for name, target in self._built_in.items()}
        for entry in entry_points(group=COMMANDS_GROUP):
            if entry.name in self._built_in:
                continue
            distribution = "" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
            source = _Source(target=entry.value, distribution=distribution, entry=entry)
            found.setdefault(entry.name, []).append(source)
        ctx.meta[__name__] = found
        return found


def _forget_output() -> None:
    """Let what standard output still holds go nowhere: Python would try to write it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
    finally:
        os.close(nowhere)


def _short(sources: Sequence[_Source], room: int) -> str:
    if len(sources) > 1:
        text = "provided by " + " and ".join(source.distribution for source in sources)
    else:
        text = sources[0].summary()
    return textwrap.shorten(text, max(room, 20), placeholder=" …")


def _load(name: str, source: _Source) -> click.Command:
    whose = f"command {name!r}" + (f" of {source.distribution}" if source.distribution else "")
    module_name, _, attribute = source.target.partition(":")
    try:
        command: Any = import_module(module_name)
        for part in attribute.split("."):
            command = getattr(command, part)
    except Exception as failed:  # whatever a distribution's module does, the answer is one line
        text = " ".join(str(failed).split())
        raise click.ClickException(f"{whose} cannot be loaded: {type(failed).__name__}: {text}") from failed
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{whose} is a {type(command).__name__}, not a click command")
    return command
