"""Make keys that sign calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Make keys that sign calls."""


@keys.command("new")
@click.option(
    "--file",
    "-f",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("keys.toml"),
    show_default=True,
    help="Keys file to add the key to; made with mode 0600 when it does not exist.",
)
@click.option("--principal", required=True, help="Whom the key speaks for: limits and audit are by this name.")
@click.option(
    "--role",
    "roles",
    type=click.Choice(["read", "write", "admin"]),
    multiple=True,
    default=("read",),
    show_default=True,
    help="What it may do; each role includes those before it. May be given several times.",
)
@click.option("--id", "key_id", default=None, help="Key id; drawn at random unless given.")
@click.option("--days", type=click.IntRange(1, 3650), default=None, help="Days until it expires; never unless given.")
@click.option("--show", is_flag=True, help="Print the secret too, once, for a client that cannot read the file.")
def new(path: Path, principal: str, roles: tuple[str, ...], key_id: str | None, days: int | None, show: bool) -> None:
    """Add a fresh key to a keys file and print its id."""
    from mfn_signing import InvalidKeyError, KeysFileError, append_key, encode_secret, generate_key

    not_after = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    try:
        key = generate_key(principal=principal, roles=set(roles), key_id=key_id, not_after=not_after)
        append_key(path, key)
    except (InvalidKeyError, KeysFileError) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    click.echo(f"key id  {key.id}")
    click.echo(f"file    {path}")
    if show:
        click.echo(f"secret  {encode_secret(key.secret)}")
