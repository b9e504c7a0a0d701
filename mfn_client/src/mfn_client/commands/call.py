"""Call a method of any server, with JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mfn_client.commands._invocation import Invocation
    from mfn_client.raw import MetadataPairs, RawClient, RawStatus
    from mfn_signing import Credentials

__all__ = ["call"]

DEFAULT_SECONDS = 30.0
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

_KEY = re.compile(r"[0-9a-z_.-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_FILE = click.Path(dir_okay=False, path_type=Path)


class _Refused(click.ClickException):
    """What was asked for cannot be done; nothing was called."""

    exit_code = 2


def _seconds(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A timeout as the SDK takes it."""
    from mfn_client.timeouts import checked_timeout

    try:
        return checked_timeout(value)
    except ValueError:
        raise click.BadParameter(
            f"{value} is not a positive and finite number of seconds; leave it out for no deadline"
        ) from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("method", required=False)
@click.option("--data", "-d", metavar="JSON", help="The request; @FILE reads a file, - standard input.")
@click.option("--address", "-a", default="127.0.0.1:50051", show_default=True, help="The server.")
@click.option("--keys-file", type=_FILE, help="Keys to sign with; keys.toml, where there is one.")
@click.option("--key-id", help="The key to sign with; needed where the file has several.")
@click.option("--unsigned", is_flag=True, help="Sign nothing.")
@click.option("--header", "-H", "headers", metavar="KEY=VALUE", multiple=True, help="Metadata; -bin keys take base64.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=_seconds,
    help="Seconds; 30 where there is one reply.",
)
@click.option("--tls", is_flag=True, help="Encrypt, and trust the authorities of this system.")
@click.option("--tls-ca", type=_FILE, help="Encrypt, and trust these authorities (PEM).")
@click.option("--tls-cert", type=_FILE, help="The client's own certificate (PEM).")
@click.option("--tls-key", type=_FILE, help="The key of that certificate (PEM).")
@click.option("--tls-server-name", help="The name that the server's certificate must hold.")
@click.option("--insecure", is_flag=True, help="Allow plain text to another machine.")
@click.option("--pretty", is_flag=True, help="Indent replies, instead of one on each line.")
@click.option("--list", "listing", is_flag=True, help="Show what the server offers, and call nothing.")
def call(
    method: str | None,
    data: str | None,
    address: str,
    keys_file: Path | None,
    key_id: str | None,
    unsigned: bool,
    headers: tuple[str, ...],
    timeout: float | None,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_server_name: str | None,
    insecure: bool,
    pretty: bool,
    listing: bool,
) -> None:
    """Call a method of any server, with JSON.

    METHOD is package.Service/Method; less of it will do where that is unambiguous. Its types come from the server's
    reflection, else from the contracts that this client knows. One JSON object is sent, or as many as there are where
    the client streams; each reply is one line of JSON.

    \b
    mfn call ExtractFeatures -d '{"seed": 42, "steps": 64}'
    mfn call StreamSimulation -d '{"total_steps": 100}' | jq .pot_mean_mV
    mfn call SteerSimulation -d - < commands.jsonl

    Exit status 1 where the call fails, 2 where it cannot be made, 130 after an interrupt.
    """
    if method is None and not listing:
        raise click.UsageError("name a METHOD, or ask for --list")
    try:
        import grpc_reflection  # noqa: F401 - whether the extra is installed

        from mfn_client.commands._methods import Wanted
    except ImportError as missing:
        raise _Refused(f"{missing.name} is missing; install mfn-client[cli]") from missing
    try:
        wanted = None if method is None else Wanted.parse(method)
        metadata = _metadata(headers)
        credentials = None if unsigned else _credentials(keys_file, key_id)
        raw = _client(address, tls, tls_ca, tls_cert, tls_key, tls_server_name, insecure)
    except OSError as failed:
        raise _Refused(f"{failed.filename}: cannot be read: {(failed.strerror or str(failed)).lower()}") from failed
    except ValueError as wrong:
        raise _Refused(_clean(str(wrong))) from wrong

    async def run(invocation: Invocation) -> None:
        asking = DEFAULT_SECONDS if timeout is None else min(timeout, DEFAULT_SECONDS)
        if wanted is None or listing:
            found = await invocation.methods(asking)
            width = max((len(each.path) for each in found), default=0)
            for each in found:
                if wanted is None or wanted.method == each.name:
                    click.echo(f"{each.path[1:].ljust(width)} {each.shape}")
            return
        from mfn_client.commands._input import json_objects

        target = await invocation.find(wanted, asking)
        given = ("-" if target.client_streams else "{}") if data is None else data
        seconds = timeout
        if timeout is None and not target.server_streams and not (target.client_streams and given in ("-", "@-")):
            seconds = DEFAULT_SECONDS
        await invocation.call(target, json_objects(given), click.echo, timeout=seconds, pretty=pretty)

    _run(raw, credentials, metadata, run)


def _run(
    raw: RawClient,
    credentials: Credentials | None,
    metadata: MetadataPairs,
    run: Callable[[Invocation], Coroutine[Any, Any, None]],
) -> None:
    """Run it, and say on one screen what went wrong."""
    from mfn_client.commands._input import BadInput
    from mfn_client.commands._invocation import Invocation, UnknownMethod
    from mfn_client.commands._reflection import BadDescriptors, NoReflection
    from mfn_client.raw import RpcFailed

    async def connected() -> None:
        async with raw:
            await run(Invocation(raw, credentials, metadata))

    try:
        asyncio.run(connected())
    except KeyboardInterrupt:
        click.echo("cancelled", err=True)
        sys.exit(INTERRUPTED)
    except (RpcFailed, NoReflection) as failed:
        click.echo(_told(failed.status, credentials), err=True)
        sys.exit(1)
    except (BadInput, BadDescriptors, UnknownMethod) as wrong:
        raise _Refused(_clean(str(wrong))) from wrong


def _told(status: RawStatus, credentials: Credentials | None) -> str:
    """An error of the server, on one screen."""
    lines = [f"{status.code}: {status.message}" if status.message else status.code]
    lines += [f"  {each.field or 'request'}: {each.description}" for each in status.violations]
    if status.reason:
        lines.append(f"  reason: {status.reason}")
    lines += [f"  {key}: {value}" for key, value in status.details.items()]
    if status.retry_after is not None:
        lines.append(f"  retry after {status.retry_after:g} s")
    if status.code == "UNAUTHENTICATED":
        how = "the call was not signed" if credentials is None else f"signed with key {credentials.key_id}"
        lines.append(f"  {how}; --keys-file and --key-id name another key")
    return "\n".join(map(_clean, lines))


def _clean(text: str) -> str:
    """The text without what would move the cursor or colour the terminal; it may be a stranger's."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _credentials(path: Path | None, key_id: str | None) -> Credentials | None:
    """The key to sign with; None where nothing is said and there is no keys file.

    Raises:
        ValueError: the file or the key cannot be used, or it is not clear which key is meant.
    """
    from mfn_signing import ACTIVE, Credentials, load_keys

    if path is None:
        path = Path("keys.toml")
        if key_id is None and not path.exists():
            return None
    if key_id is not None:
        return Credentials.from_keys_file(path, key_id)
    active = [key.id for key in load_keys(path) if key.status == ACTIVE]
    if len(active) != 1:
        names = ", ".join(active[:20]) or "none"
        raise ValueError(f"{path} has {len(active)} active keys ({names}); name one with --key-id, or say --unsigned")
    return Credentials.from_keys_file(path, active[0])


def _metadata(headers: tuple[str, ...]) -> MetadataPairs:
    """`KEY=VALUE` as metadata.

    Raises:
        ValueError: one cannot be sent, or is not the caller's to set.
    """
    pairs: list[tuple[str, str | bytes]] = []
    for header in headers:
        key, equals, value = header.partition("=")
        key = key.strip().lower()
        if not equals or not _KEY.fullmatch(key):
            raise ValueError(f"-H {header!r} is not KEY=VALUE with a key of letters, digits, '_', '.' and '-'")
        if key.startswith(("grpc-", "x-mfn-")):
            raise ValueError(f"-H {key}: keys that begin with grpc- or x-mfn- are set by the client itself")
        if key.endswith("-bin"):
            try:
                pairs.append((key, base64.b64decode(value, validate=True)))
            except binascii.Error as wrong:
                raise ValueError(f"-H {key}: the value of a -bin key is base64: {wrong}") from wrong
        elif value.isascii() and (value.isprintable() or not value):
            pairs.append((key, value))
        else:
            raise ValueError(f"-H {key}: the value must be printable ASCII; use a key that ends in -bin")
    return tuple(pairs)


def _client(
    address: str,
    tls: bool,
    roots: Path | None,
    chain: Path | None,
    key: Path | None,
    server_name: str | None,
    insecure: bool,
) -> RawClient:
    """The channel.

    Raises:
        ValueError: the options contradict one another, or would send plain text to another machine.
        OSError: a file cannot be read.
    """
    from mfn_client._tls import channel_security
    from mfn_client.raw import RawClient

    security = channel_security(
        address,
        tls=tls,
        root_certificates=roots,
        certificate_chain=chain,
        private_key=key,
        server_name=server_name,
        insecure=insecure,
    )
    return RawClient(address, credentials=security.credentials, options=tuple(security.options.items()))
