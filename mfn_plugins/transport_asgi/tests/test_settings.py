"""What is refused before anything is started."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mfn_core import ConfigError
from mfn_core.assembly import plan
from mfn_core.config import Document, decode
from mfn_core.server import assemble
from mfn_transport_asgi._binding import HeldAddress, probe
from mfn_transport_asgi._envoy.bootstrap import bootstrap
from mfn_transport_asgi._envoy.host import EnvoyHost
from mfn_transport_asgi._settings import AsgiSettings, TlsSettings
from mfn_transport_asgi._transport import AsgiTransport

Certificates = Mapping[str, Path]


def planned(document: Mapping[str, Any], directory: Path) -> Any:
    return plan(Document(tables=document, base_dir=directory, source="test"))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin of these tests can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "parts"))


def tls_problems(**tls: Path) -> list[str]:
    return list(AsgiTransport("asgi", AsgiSettings(listen="127.0.0.1:0", tls=TlsSettings(**tls))).preflight())


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    table = {"listen": "8080", "max_message_bytes": 1, "loop": "trio", "tls": {"certificate": "c.pem"}, "lisen": "x"}
    with pytest.raises(ConfigError) as refused:
        decode(AsgiSettings, table, "transports.asgi", tmp_path)
    paths = {problem.path for problem in refused.value.problems}
    assert paths == {f"transports.asgi.{name}" for name in ("listen", "max_message_bytes", "loop", "tls.key", "lisen")}


def test_a_listener_is_encrypted_when_it_has_tls(tmp_path: Path) -> None:
    assert not decode(AsgiSettings, {}, "", tmp_path).encrypted
    table = {"tls": {"certificate": "c.pem", "key": "k.pem"}}
    settings = decode(AsgiSettings, table, "", tmp_path)
    assert settings.encrypted
    assert settings.tls is not None
    assert settings.tls.key == tmp_path / "k.pem"


@pytest.mark.usefixtures("service")
def test_beyond_loopback_without_tls_is_refused(tables: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reachable from other machines, without TLS"):
        planned(tables(listen="0.0.0.0:0"), tmp_path)


@pytest.mark.usefixtures("service")
def test_a_second_listener_is_refused_and_named(tables: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    document = tables()
    document["transports"]["asgi/public"] = {"listen": "127.0.0.1:0"}
    with pytest.raises(ConfigError) as refused:
        planned(document, tmp_path)
    (problem,) = refused.value.problems
    assert problem.path == 'transports."asgi/public"'
    assert "second listener beside transports.asgi" in problem.message
    with pytest.raises(ValueError, match="one listener, not 2"):
        EnvoyHost({"asgi": AsgiSettings(), "asgi/public": AsgiSettings()})


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        transport = AsgiTransport("asgi", AsgiSettings(listen=listen))
        assert list(transport.preflight()) == [f"cannot listen on {listen}: address already in use"]
    assert list(transport.preflight()) == []


def test_a_port_that_others_share_is_in_use_too() -> None:
    with socket.socket() as sharing:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", 0))
        sharing.listen()
        with pytest.raises(OSError, match="address already in use"):
            HeldAddress(f"127.0.0.1:{sharing.getsockname()[1]}", share=True)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(
        OSError, match=r"cannot listen on no-such-host\.invalid:80: 'no-such-host\.invalid' is not known"
    ):
        probe("no-such-host.invalid:80")


def test_a_held_address_has_a_real_port_and_a_worker_may_listen_on_it() -> None:
    with HeldAddress("127.0.0.1:0", share=False) as held:
        assert held.port > 0
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            worker.bind((held.host, held.port))
            worker.listen()
            with socket.create_connection((held.host, held.port), timeout=5):
                accepted, _ = worker.accept()
                accepted.close()


def test_certificates_that_cannot_be_used_are_named_and_not_shown(certificates: Certificates, tmp_path: Path) -> None:
    server, key = certificates["server"], certificates["server_key"]
    assert tls_problems(certificate=server, key=key, client_ca=certificates["ca"]) == []
    missing = tmp_path / "missing.pem"
    assert tls_problems(certificate=missing, key=key) == [f"tls.certificate: {missing}: no such file or directory"]
    assert tls_problems(certificate=server, key=certificates["client_key"]) == [
        f"tls.key: {certificates['client_key']} is not the key of {server}"
    ]
    assert tls_problems(certificate=server, key=certificates["encrypted_key"]) == [
        f"tls.key: {certificates['encrypted_key']}: the key is encrypted; decrypt it, and keep it readable by the "
        "server alone"
    ]
    noise = tmp_path / "noise.pem"
    noise.write_text("secret noise")
    (problem,) = tls_problems(certificate=noise, key=key)
    assert "are not a certificate and its key in PEM" in problem
    (problem,) = tls_problems(certificate=server, key=key, client_ca=noise)
    assert "has no certificate in PEM" in problem
    assert "secret noise" not in problem


def test_tls_older_than_1_3_is_never_configured_and_keys_stay_in_their_files(
    certificates: Certificates, tmp_path: Path
) -> None:
    settings = AsgiSettings(
        tls=TlsSettings(
            certificate=certificates["server"], key=certificates["server_key"], client_ca=certificates["ca"]
        )
    )
    config = bootstrap(
        settings, name="asgi", address="127.0.0.1", port=1, directory=tmp_path, log=tmp_path / "p", share_port=False
    )
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    context = chain["transport_socket"]["typed_config"]
    assert context["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_3"
    assert context["require_client_certificate"] is True
    assert "PRIVATE KEY" not in str(config)


def test_a_python_without_a_shared_library_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("find_libpython.candidate_paths", lambda: [str(tmp_path / "libpython3.so")])
    host = EnvoyHost({"asgi": AsgiSettings(listen="127.0.0.1:0")})
    (problem,) = host.problems()
    assert sys.executable in problem
    assert "use a Python built with --enable-shared" in problem
    with pytest.raises(OSError, match="shared library"):
        host.command(tmp_path, worker=0, workers=1)


def test_another_platform_is_told_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    (problem,) = EnvoyHost({"asgi": AsgiSettings()}).problems()
    assert problem.startswith("Envoy runs Python on Linux and macOS, not on win32; use the grpc transport")
    assert 'set server = "uvicorn"' in problem


def test_a_temporary_directory_too_deep_for_a_socket_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    (problem,) = EnvoyHost({"asgi": AsgiSettings()}).problems()
    assert "set TMPDIR to a shorter one" in problem


async def test_outside_its_worker_the_transport_does_not_start() -> None:
    from mfn_core import Dispatcher

    with pytest.raises(OSError, match="start the server with `mfn serve`"):
        await AsgiTransport("asgi", AsgiSettings()).start(Dispatcher(()))


def test_files_that_are_missing_are_problems_of_the_configuration_by_their_paths(tmp_path: Path) -> None:
    tables = {
        "server": {"plugins": ["transport_asgi"], "allow": ["anonymous"]},
        "transports": {
            "asgi": {
                "listen": "127.0.0.1:0",
                "server": "uvicorn",
                "tls": {"certificate": "none.pem", "key": "none.key"},
            }
        },
    }
    with pytest.raises(ConfigError) as refused:
        assemble(Document(tables=tables, base_dir=tmp_path, source="test"))
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert found == {
        "transports.asgi.tls.certificate": f"{tmp_path / 'none.pem'}: no such file or directory",
        "transports.asgi.tls.key": f"{tmp_path / 'none.key'}: no such file or directory",
    }
