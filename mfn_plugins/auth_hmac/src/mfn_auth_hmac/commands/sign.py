"""Print the headers that sign one call, for curl and other clients."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import BinaryIO

import click

__all__ = ["sign"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("method")
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
@click.option("--stream", is_flag=True, help="The client streams its requests, which are not signed.")
@click.option("--http", "http_method", default=None, help="HTTP method, where METHOD is a REST path with its query.")
@click.option("--curl", is_flag=True, help="Print them as options of curl, on one line.")
def sign(
    method: str,
    keys_file: Path,
    key_id: str,
    data_file: BinaryIO | None,
    stream: bool,
    http_method: str | None,
    curl: bool,
) -> None:
    """Print the headers that sign one call of METHOD, such as /mfn.MFNFeaturesService/ExtractFeatures.

    They serve one call, within five minutes: every call needs fresh ones.
    """
    from mfn_signing import Credentials, KeysFileError, MalformedError, http_path, new_random_nonce, sign_headers

    if stream and data_file is not None:
        raise click.UsageError("--stream and --data-file exclude each other: streamed messages are not signed")
    body = None if stream else b"" if data_file is None else data_file.read()
    try:
        path = method if http_method is None else http_path(http_method, method)
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
