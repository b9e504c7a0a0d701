"""Print the headers that sign one call, for curl and other clients."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import BinaryIO

import click

__all__ = ["sign"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("method", required=False)
@click.option(
    "--keys-file",
    "-k",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("keys.toml"),
    show_default=True,
    help="Keys file that holds the key.",
)
@click.option("--key-id", required=True, help="Which key of it signs.")
@click.option(
    "--data-file",
    "-d",
    type=click.File("rb"),
    help="The request message as the codec sees it, '-' for standard input; an empty message unless given.",
)
@click.option(
    "--data",
    "data",
    metavar="TEXT|@FILE",
    help="The request message as text, or what is in a file; '@-' for standard input. As curl's --data-binary.",
)
@click.option("--stream", is_flag=True, help="The client streams its requests, which are not signed.")
@click.option(
    "--http",
    "http_request",
    metavar="REQUEST",
    help="For REST and WebSocket, in place of METHOD: method and path with its query, such as 'POST /simulate'. "
    "The method alone, where METHOD is the path.",
)
@click.option("--curl", is_flag=True, help="Print them as options of curl, on one line.")
def sign(
    method: str | None,
    keys_file: Path,
    key_id: str,
    data_file: BinaryIO | None,
    data: str | None,
    stream: bool,
    http_request: str | None,
    curl: bool,
) -> None:
    """Print the headers that sign one call of METHOD, such as /mfn.MFNFeaturesService/ExtractFeatures.

    They serve one call, within five minutes: every call needs fresh ones. Where the call is REST, --http stands in
    place of METHOD: --http 'POST /simulate' --data @body.json
    """
    from mfn_signing import Credentials, KeysFileError, MalformedError, http_path, new_random_nonce, sign_headers

    if stream + (data_file is not None) + (data is not None) > 1:
        raise click.UsageError("--stream, --data and --data-file exclude each other: streamed messages are not signed")
    verb, target = _http(http_request, method)
    body = None if stream else _body(data_file, data)
    try:
        path = target if verb is None else http_path(verb, target)
        headers = sign_headers(
            Credentials.from_keys_file(keys_file, key_id),
            path,
            body,
            timestamp=int(time.time()),
            nonce=new_random_nonce(),
        )
    except (KeysFileError, MalformedError) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    if curl:
        click.echo(" ".join(f"-H {shlex.quote(f'{key}: {value}')}" for key, value in headers))
    else:
        for key, value in headers:
            click.echo(f"{key}: {value}")


def _http(request: str | None, method: str | None) -> tuple[str | None, str]:
    """The method of HTTP, where there is one, and the path."""
    verb, _, target = (request or "").partition(" ")
    if bool(target) == (method is not None):
        raise click.UsageError("give METHOD, or --http 'POST /path'; one of them says the path")
    return verb or None, target or method or ""


def _body(file: BinaryIO | None, data: str | None) -> bytes:
    if file is not None:
        return file.read()
    if data is None or not data.startswith("@"):
        return (data or "").encode()
    try:
        with click.open_file(data[1:], "rb") as named:
            content: bytes = named.read()
    except OSError as failed:
        raise click.ClickException(f"{data[1:]}: {(failed.strerror or str(failed)).lower()}") from failed
    return content
