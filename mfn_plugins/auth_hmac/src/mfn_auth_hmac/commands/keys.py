"""Make, list, rotate and revoke the keys that sign calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mfn_signing import Key

__all__ = ["keys"]

ROLE = click.Choice(["read", "write", "admin"])


def keys_file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names the keys file."""
    return click.option(
        "--file",
        "-f",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path("keys.toml"),
        show_default=True,
        help="Keys file, mode 0600.",
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def keys() -> None:
    """Make, list, rotate and revoke the keys that sign calls.

    A server reads its keys file again when it changes: none of these needs a restart.
    """


@keys.command("new")
@keys_file_option
@click.option("--principal", required=True, help="Whom the key speaks for: limits and audit are by this name.")
@click.option(
    "--role",
    "roles",
    type=ROLE,
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


@keys.command("list")
@keys_file_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_keys(path: Path, as_json: bool) -> None:
    """List the keys of a keys file, without their secrets."""
    from mfn_signing import KeysFileError, load_keys

    try:
        found = load_keys(path)
    except KeysFileError as wrong:
        raise click.ClickException(str(wrong)) from wrong
    now = datetime.now(UTC)
    rows = [_row(key, now) for key in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = ("id", "principal", "roles", "state", "not_before", "not_after")
    table = [columns, *(tuple(str(row[name]) for name in columns) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command("rotate")
@click.argument("key_id")
@keys_file_option
@click.option(
    "--overlap-hours",
    type=click.FloatRange(min=0.0, max=24.0 * 365),
    default=24.0,
    show_default=True,
    help="How long the old key stays valid, so that clients can change over.",
)
@click.option("--id", "new_id", default=None, help="Id of the new key; drawn at random unless given.")
def rotate(key_id: str, path: Path, overlap_hours: float, new_id: str | None) -> None:
    """Add a key for the principal of KEY_ID, and let KEY_ID expire after the overlap."""
    from mfn_signing import InvalidKeyError, format_key, generate_key

    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=overlap_hours)

    def edit(text: str) -> str:
        import tomlkit

        document = tomlkit.parse(text)
        table = _find(document, key_id, path)
        if table["status"] != "active":
            raise click.ClickException(f"{path}: key {key_id!r} is {table['status']}; make a new one with `keys new`")
        if "not_after" not in table or table["not_after"] > end:
            table["not_after"] = end
        fresh = generate_key(principal=str(table["principal"]), roles=map(str, table["roles"]), key_id=new_id)
        made.append(fresh)
        return f"{tomlkit.dumps(document).rstrip()}\n\n{format_key(fresh)}"

    made: list[Key] = []
    try:
        _edit(path, edit)
    except InvalidKeyError as wrong:
        raise click.ClickException(str(wrong)) from wrong
    click.echo(f"key id  {made[0].id}")
    click.echo(f"file    {path}")
    click.echo(f"old     {key_id}, valid until {end.isoformat()} at the latest")


@keys.command("revoke")
@click.argument("key_id")
@keys_file_option
def revoke(key_id: str, path: Path) -> None:
    """Revoke KEY_ID: no server that reads the file accepts it any more."""

    def edit(text: str) -> str:
        import tomlkit

        document = tomlkit.parse(text)
        _find(document, key_id, path)["status"] = "revoked"
        return tomlkit.dumps(document)

    _edit(path, edit)
    click.echo(f"revoked {key_id} in {path}")


def _edit(path: Path, edit: Callable[[str], str]) -> None:
    from mfn_signing import KeysFileError, edit_keys_file

    try:
        edit_keys_file(path, edit)
    except KeysFileError as wrong:
        raise click.ClickException(str(wrong)) from wrong


def _find(document: Any, key_id: str, path: Path) -> Any:
    tables = document.get("keys", [])
    for table in tables:
        if table["id"] == key_id:
            return table
    known = ", ".join(repr(str(table["id"])) for table in tables) or "none"
    raise click.ClickException(f"{path}: no key {key_id!r}; there is: {known}")


def _row(key: Key, now: datetime) -> dict[str, Any]:
    from mfn_signing import ACTIVE

    if key.status != ACTIVE:
        state = key.status
    elif key.not_before is not None and now < key.not_before:
        state = "not yet valid"
    elif key.not_after is not None and now > key.not_after:
        state = "expired"
    else:
        state = "active"
    return {
        "id": key.id,
        "principal": key.principal,
        "roles": ",".join(sorted(key.roles)),
        "state": state,
        "not_before": "-" if key.not_before is None else key.not_before.isoformat(),
        "not_after": "-" if key.not_after is None else key.not_after.isoformat(),
    }
