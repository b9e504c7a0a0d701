"""How commands say no: one line on standard error, and the exit status that fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

__all__ = ["Refused", "refusing", "unwritable"]


class Refused(click.ClickException):
    """A value that is refused, told in one line, with the exit status of a command line that cannot be read."""

    exit_code = 2


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the library raises into what a command says.

    `ValueError`, which `SpecError` is, becomes status 2; a missing library, a file and a lack of memory status 1.
    """
    try:
        yield
    except ValueError as wrong:
        raise Refused(str(wrong)) from wrong
    except ImportError as missing:
        raise click.ClickException(str(missing)) from missing
    except OSError as failed:
        raise unwritable(failed) from failed
    except MemoryError as short:
        raise click.ClickException("that does not fit into memory; choose a smaller grid or fewer frames") from short


def unwritable(failed: OSError) -> click.ClickException:
    """The line for a file that cannot be read or written."""
    reason = (failed.strerror or str(failed)).lower()
    return click.ClickException(f"{failed.filename}: {reason}" if failed.filename else reason)
