"""TLS: every shape over it, with nothing older than 1.3, and no server that starts without what it was told to use."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from attrs import evolve, frozen

from mfn_client import Credentials, Frame, MFNClient, MfnRpcError, SessionEnded
from mfn_core.testing.process import toml_text
from mfn_e2e.calls import new_id
from mfn_e2e.deployment import AUDIT, Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_signing import append_key, generate_key

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
ROOTS = AUTHORITY.cert_pem.bytes()


@frozen
class Files:
    """A certificate chain and its key."""

    certificate: Path
    key: Path


def issue(directory: Path, authority: trustme.CA, *names: str, common_name: str | None = None) -> Files:
    issued = authority.issue_cert(*names, common_name=common_name, organization_name="Mycelia")
    made = Files(directory / f"{names[0]}.pem", directory / f"{names[0]}.key")
    made.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    made.key.write_bytes(issued.private_key_pem.bytes())
    return made


def encrypted(files: Files, **more: object) -> dict[str, Any]:
    """A configuration of every transport with these files."""
    made = tables()
    for listener in made["transports"].values():
        listener["tls"] = {"certificate": files.certificate, "key": files.key, **more}
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that shows a certificate and asks for none."""
    directory = tmp_path_factory.mktemp("tls")
    with Deployment(encrypted(issue(directory, AUTHORITY, "localhost", "127.0.0.1")), directory) as started:
        yield started


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that asks for certificates as well."""
    directory = tmp_path_factory.mktemp("mutual")
    AUTHORITY.cert_pem.write_to_path(directory / "clients.pem")
    files = issue(directory, AUTHORITY, "localhost", "127.0.0.1")
    with Deployment(encrypted(files, client_ca=directory / "clients.pem"), directory) as started:
        yield started


def client(server: Deployment, transport: str, **options: Any) -> MFNClient:
    """The SDK, with the authority of the server's certificate unless another is given."""
    given: dict[str, Any] = {"root_certificates": ROOTS, "retry_max_attempts": 1, "timeout": 20.0, **options}
    credentials = Credentials.from_key(server.keys["ada"])
    return MFNClient(server.address(transport), credentials=credentials, **given)


RUN: dict[str, Any] = {"seed": 11, "grid_size": 16, "alpha": 0.2, "spike_probability": 0.5}


async def results_of_every_shape(used: MFNClient, request_id: str) -> list[Any]:
    """A run: as a whole, as a stream, uploaded to be measured, and steered."""
    whole = await used.run_simulation(**RUN, steps=20, request_id=request_id)
    summaries = [
        frame async for frame in used.stream_simulation(**RUN, total_steps=20, steps_per_frame=5, request_id=request_id)
    ]
    frames = [
        frame
        async for frame in used.simulate(**RUN, steps=20, every_n_steps=20, field="float64", request_id=request_id)
    ]
    field = frames[-1].field
    assert field is not None
    measured = await used.analyze_field(field, request_id=request_id)
    events = []
    async with used.steer(**RUN, total_steps=20, every_n_steps=20, field="float64", request_id=request_id) as session:
        async for event in session:
            events.append(event)
    (steered,) = [event for event in events if isinstance(event, Frame)]
    assert isinstance(events[-1], SessionEnded)
    assert len(summaries) == 4
    assert summaries[-1].pot_mean_mv == whole.pot_mean_mv
    assert frames[-1].statistics.mean_mv == whole.pot_mean_mv
    assert steered.field is not None
    assert np.array_equal(steered.field, field)
    assert measured.statistics == frames[-1].statistics
    return [whole, summaries, measured, field.tobytes()]


async def test_every_shape_is_called_over_tls_with_the_same_results(served: Deployment) -> None:
    found, request_id = [], new_id()
    for transport in TRANSPORTS:
        async with client(served, transport) as used:
            found.append(await results_of_every_shape(used, request_id))
    assert all(each == found[0] for each in found)
    records = await served.trail.of(request_id, count=5 * len(TRANSPORTS))
    for transport in TRANSPORTS:
        shapes = sorted(record["shape"] for record in records if record["transport"] == transport)
        assert shapes == ["bidi", "client_stream", "server_stream", "server_stream", "unary"]
    assert {(record["status"], record["tls_identity"]) for record in records} == {("OK", None)}


async def test_every_shape_is_called_with_a_certificate_of_the_client_which_is_on_record(
    mutual: Deployment, transport: str, tmp_path: Path
) -> None:
    shown = issue(tmp_path, AUTHORITY, "client.example", common_name="bench 4")
    request_id = new_id()
    async with client(mutual, transport, certificate_chain=shown.certificate, private_key=shown.key) as used:
        await results_of_every_shape(used, request_id)
    records = await mutual.trail.of(request_id, count=5)
    assert len({record["shape"] for record in records}) == 4
    for record in records:
        assert "CN=bench 4" in record["tls_identity"]
        assert "O=Mycelia" in record["tls_identity"]


@pytest.mark.parametrize("shows", ["nothing", "a certificate of another authority"])
async def test_a_client_without_a_certificate_that_is_trusted_reaches_no_operation(
    mutual: Deployment, transport: str, tmp_path: Path, shows: str
) -> None:
    given: dict[str, Any] = {}
    if shows != "nothing":
        files = issue(tmp_path, STRANGER, "client.example")
        given = {"certificate_chain": files.certificate, "private_key": files.key}
    mutual.trail.refresh()
    before = len(mutual.trail.records)
    async with client(mutual, transport, **given) as used:
        with pytest.raises(MfnRpcError) as refused:
            await used.run_simulation(**RUN, steps=1)
    assert refused.value.code == "UNAVAILABLE"
    mutual.trail.refresh()
    assert len(mutual.trail.records) == before


@pytest.mark.parametrize("how", ["of another authority", "in plain text"])
async def test_a_client_and_a_server_that_do_not_agree_on_tls_do_not_talk(
    served: Deployment, transport: str, how: str
) -> None:
    given: dict[str, Any] = {"root_certificates": None if how == "in plain text" else STRANGER.cert_pem.bytes()}
    async with client(served, transport, **given) as used:
        with pytest.raises(MfnRpcError) as refused:
            await used.run_simulation(**RUN, steps=1)
    assert refused.value.code == "UNAVAILABLE"


def spoken(address: str, version: ssl.TLSVersion) -> str | None:
    """The version that a client of exactly this version agrees on with the server."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                return wrapped.version()
        except OSError:
            return None


def test_nothing_older_than_tls_1_3_is_spoken(served: Deployment, transport: str) -> None:
    address = served.address(transport)
    assert spoken(address, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert spoken(address, ssl.TLSVersion.TLSv1_2) is None


# A server that cannot encrypt as it was told does not start.


def refuses_to_start(directory: Path, configuration: dict[str, Any], **environment: str) -> str:
    """What a server says that does not start; it has recorded and announced nothing."""
    append_key(directory / "keys.toml", generate_key(key_id="ada", principal="ada", roles={"write"}))
    (directory / "mfn.toml").write_text(toml_text(configuration))
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", "serve", "-c", str(directory / "mfn.toml")],
        cwd=directory,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert not (directory / AUDIT).exists()
    return done.stderr


def test_files_that_are_missing_stop_the_start(tmp_path: Path) -> None:
    files = Files(tmp_path / "nothing.pem", tmp_path / "nothing.key")
    said = refuses_to_start(tmp_path, encrypted(files, client_ca=tmp_path / "nobody.pem"))
    for transport in TRANSPORTS:
        assert f"transports.{transport}" in said
    for path in (files.certificate, files.key, tmp_path / "nobody.pem"):
        assert said.count(str(path)) >= len(TRANSPORTS)


def test_a_key_of_another_certificate_stops_the_start(tmp_path: Path) -> None:
    files = issue(tmp_path, AUTHORITY, "localhost")
    other = issue(tmp_path, AUTHORITY, "other.example")
    said = refuses_to_start(tmp_path, encrypted(evolve(files, key=other.key)))
    for transport in TRANSPORTS:
        assert f"transports.{transport}" in said
    assert str(other.key) in said


@pytest.mark.parametrize("left_out", ["certificate", "key"])
def test_a_table_that_names_one_file_of_two_stops_the_start(tmp_path: Path, left_out: str) -> None:
    configuration = encrypted(issue(tmp_path, AUTHORITY, "localhost"))
    for listener in configuration["transports"].values():
        del listener["tls"][left_out]
    said = refuses_to_start(tmp_path, configuration)
    for transport in TRANSPORTS:
        assert f"transports.{transport}.tls.{left_out}" in said


@pytest.mark.skipif("grpc" not in TRANSPORTS, reason="the variables are those of the transport grpc")
def test_tls_that_is_turned_on_without_files_never_ends_in_plain_text(tmp_path: Path) -> None:
    said = refuses_to_start(tmp_path, tables(transports=["grpc"]), GRPC_TLS_ENABLED="true")
    assert "transports.grpc.tls.certificate" in said
    assert "transports.grpc.tls.key" in said
