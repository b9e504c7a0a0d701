from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from mfn_core.dispatcher import Dispatcher
from mfn_transport_grpc import GrpcTransport
from mfn_transport_grpc._address import address_problem


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that another server of this machine listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


@pytest.fixture
def taken_and_shared() -> Iterator[str]:
    """An address whose owner lets others bind it too."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


def test_a_free_address_has_no_problem() -> None:
    assert address_problem("127.0.0.1:0", shared=False) is None
    assert address_problem("localhost:0", shared=False) is None


def test_an_address_in_use_is_named_with_a_remedy(taken: str) -> None:
    problem = address_problem(taken, shared=False)
    assert problem is not None
    assert problem.startswith(f"cannot listen on {taken}: ")
    assert "choose another port" in problem


def test_one_worker_does_not_share_an_address_that_others_would_share(taken_and_shared: str) -> None:
    assert address_problem(taken_and_shared, shared=False) is not None


def test_workers_share_an_address_among_themselves(taken_and_shared: str) -> None:
    assert address_problem(taken_and_shared, shared=True) is None


def test_an_address_of_another_machine_is_named() -> None:
    problem = address_problem("192.0.2.1:50051", shared=False)
    assert problem is not None
    assert "choose an address of this machine" in problem


def test_a_host_that_does_not_resolve_is_named() -> None:
    problem = address_problem("no-such-host.invalid:50051", shared=False)
    assert problem is not None
    assert "'no-such-host.invalid' is not known here" in problem


def test_a_probe_leaves_the_port_free() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert address_problem(f"127.0.0.1:{port}", shared=False) is None
    assert address_problem(f"127.0.0.1:{port}", shared=False) is None


def test_preflight_tells_of_an_address_in_use(taken: str, make: Callable[..., GrpcTransport]) -> None:
    (problem,) = make(listen=taken).preflight()
    assert taken in problem


def test_several_workers_need_a_port_by_name(make: Callable[..., GrpcTransport]) -> None:
    (problem,) = make(server={"workers": 2}, listen="127.0.0.1:0").preflight()
    assert "would bind a port for each" in problem


async def test_starting_on_an_address_in_use_fails_and_names_it(
    taken: str, make: Callable[..., GrpcTransport], dispatcher: Dispatcher
) -> None:
    transport = make(listen=taken)
    with pytest.raises(OSError, match=f"cannot listen on {taken}"):
        await transport.start(dispatcher)
    assert transport.addresses == ()
    await transport.stop()


async def test_two_transports_do_not_share_a_port_silently(
    make: Callable[..., GrpcTransport], serve: Callable[..., Awaitable[GrpcTransport]], dispatcher: Dispatcher
) -> None:
    first = await serve()
    with pytest.raises(OSError, match="cannot listen on"):
        await make(listen=first.addresses[0]).start(dispatcher)


@pytest.mark.skipif(address_problem("[::1]:0", shared=False) is not None, reason="the machine has no IPv6")
async def test_an_ipv6_address_is_told_in_brackets(serve: Callable[..., Awaitable[GrpcTransport]]) -> None:
    transport = await serve(listen="[::1]:0")
    host, _, port = transport.addresses[0].rpartition(":")
    assert host == "[::1]"
    assert int(port) > 0
