"""To whom a client talks, and in the clear or not."""

from __future__ import annotations

from typing import Any

import pytest
import trustme

from mfn_client import Code, Credentials, MFNClient, MfnRpcError
from mfn_client._target import is_loopback

CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051",
        "127.3.2.1:1",
        "localhost:50051",
        "LocalHost",
        "[::1]:50051",
        "::1",
        "ipv4:127.0.0.1:50051",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "ipv6:[::1]:50051",
        "ipv6:%5B::1%5D:50051",
        "dns:localhost:50051",
        "dns:///localhost:50051",
        "unix:/run/mfn.sock",
        "unix:///run/mfn.sock",
        "unix-abstract:mfn",
    ],
)
def test_plain_text_to_this_machine_needs_no_word(target: str) -> None:
    assert is_loopback(target)
    MFNClient(target)


@pytest.mark.parametrize(
    "target",
    [
        "mfn.example:50051",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "[fe80::1]:50051",
        "localhost.example:50051",
        "127.0.0.1.example:50051",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "ipv6:[2001:db8::1]:50051",
        "dns:///127.example:50051",
        "dns://127.0.0.1/mfn.example:50051",
        "xds:///localhost",
        "",
    ],
)
def test_plain_text_to_another_machine_is_refused_unless_it_is_named(target: str) -> None:
    with pytest.raises(
        ValueError, match=r"plain text; give root_certificates for TLS, or tls=True .* or insecure=True"
    ):
        MFNClient(target)
    MFNClient(target, insecure=True)
    MFNClient(target, root_certificates=trustme.CA().cert_pem.bytes())


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    async with MFNClient(server.address, credentials=CREDENTIALS) as client:
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
    assert caught.value.code is Code.UNIMPLEMENTED  # the server itself has answered


async def test_over_tls_a_server_is_known_by_the_authority_that_was_given(tiny_tls: Any) -> None:
    server, authority = tiny_tls
    async with MFNClient(
        server.address, credentials=CREDENTIALS, root_certificates=authority.cert_pem.bytes()
    ) as client:
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
    assert caught.value.code is Code.UNIMPLEMENTED
    assert len(server.calls) == 1


async def test_over_tls_a_stranger_hears_nothing(tiny_tls: Any) -> None:
    server, _ = tiny_tls
    stranger = trustme.CA()
    async with MFNClient(
        server.address, credentials=CREDENTIALS, root_certificates=stranger.cert_pem.bytes()
    ) as client:
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
    assert caught.value.code is Code.UNAVAILABLE
    assert server.calls == []


async def test_channel_options_reach_the_channel(server: Any) -> None:
    async def large(call: Any) -> None:
        await call.write(bytes(2000))

    server.serve("/mfn.MFNFeaturesService/ExtractFeatures", large)
    async with MFNClient(server.address, credentials=CREDENTIALS, max_message_bytes=1000) as client:
        with pytest.raises(MfnRpcError) as caught:
            await client.extract_features()
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    options = {"grpc.primary_user_agent": "a-notebook"}
    async with MFNClient(server.address, credentials=CREDENTIALS, channel_options=options) as client:
        with pytest.raises(MfnRpcError):
            await client.extract_features()
    assert server.calls[-1].header("user-agent").startswith("a-notebook")
