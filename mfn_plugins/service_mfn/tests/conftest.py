"""The services behind a dispatcher, on the real engine, without a transport."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from mfn_core import (
    Call,
    CancelToken,
    Code,
    ComponentContext,
    Dispatcher,
    Metadata,
    MfnError,
    Outcome,
    Peer,
    Principal,
    Request,
)
from mfn_core.config import ServerSettings
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_engine_numpy.backend import NumpyBackend
from mfn_model import (
    Checkpoint,
    Constant,
    FieldModel,
    FieldSpec,
    FieldState,
    Parameter,
    Species,
    register_model,
)
from mfn_service._provider import MfnServices
from mfn_service._settings import ServiceSettings

TIMEOUT = 30.0
"""Seconds after which a test that waits for an event gives up."""


class WatchedSession:
    """A real session that is watched: by whom it is used, how far it goes, and, on request, step by step."""

    def __init__(self, backend: WatchedBackend, session: Any) -> None:
        self._backend = backend
        self._session = session
        self._users = threading.Lock()
        self.closed = False
        self.steps = 0

    def step(self, n: int, cancel: CancelToken) -> int:
        with self._alone():
            gate = self._backend.gate
            if gate is None:
                done = self._session.step(n, cancel)
                self.steps += done
                return int(done)
            done = 0
            while done < n and not cancel.is_set():
                if not gate.acquire(timeout=0.001):
                    continue
                done += self._session.step(1, cancel)
                self.steps += 1
            return done

    def state(self) -> FieldState:
        with self._alone():
            state: FieldState = self._session.state()
            return self._backend.spoil(state) if self._backend.spoil is not None else state

    def set_parameter(self, name: str, value: float) -> None:
        with self._alone():
            self._session.set_parameter(name, value)

    def inject(self, row: int, column: int, amplitude: float) -> None:
        with self._alone():
            self._session.inject(row, column, amplitude)

    def checkpoint(self) -> Checkpoint:
        with self._alone():
            checkpoint: Checkpoint = self._session.checkpoint()
            return checkpoint

    def close(self) -> None:
        if not self._users.acquire(blocking=False):
            self._backend.misuses.append("closed while a thread used it")
            return
        self._users.release()
        if not self.closed:
            self.closed = True
            self._backend.live -= 1
        self._session.close()

    def _alone(self) -> Any:
        if threading.current_thread() is threading.main_thread():
            self._backend.misuses.append("used on the event loop")
        if self.closed:
            self._backend.misuses.append("used after it was closed")
        if not self._users.acquire(blocking=False):
            self._backend.misuses.append("used by two threads")
            self._users.acquire()
        return _Releasing(self._users)


class _Releasing:
    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


class WatchedBackend:
    """The NumPy backend, watched."""

    def __init__(self) -> None:
        self._numpy = NumpyBackend()
        self.live = 0
        """Sessions that are open."""
        self.sessions: list[WatchedSession] = []
        self.misuses: list[str] = []
        self.gate: threading.Semaphore | None = None
        """Where set, each step takes one of its permits and waits for it."""
        self.spoil: Callable[[FieldState], FieldState] | None = None
        """Where set, changes what a session says of its state."""

    def supports(self, spec: FieldSpec) -> bool:
        return self._numpy.supports(spec)

    def open(self, spec: FieldSpec) -> WatchedSession:
        return self._watched(self._numpy.open(spec))

    def restore(self, checkpoint: Checkpoint) -> WatchedSession:
        return self._watched(self._numpy.restore(checkpoint))

    def _watched(self, opened: Any) -> WatchedSession:
        session = WatchedSession(self, opened)
        self.live += 1
        self.sessions.append(session)
        return session


class Conversation:
    """One call in flight, seen from the client."""

    def __init__(self, served: Served, path: str, call_arguments: dict[str, Any], *, window: int = 0) -> None:
        self.operation = served.dispatcher.operations[path]
        self._inbound: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._outbound: asyncio.Queue[bytes] = asyncio.Queue(window)
        if self.operation.shape.client_streams:
            call_arguments["inbound"] = self._incoming()
        if self.operation.shape.server_streams:
            call_arguments["deliver"] = self._outbound.put
        self.call = Call(
            id=served.dispatcher.new_call_id(),
            operation=self.operation,
            transport="test",
            peer=Peer(address="127.0.0.1:1"),
            **call_arguments,
        )
        self._task = asyncio.get_running_loop().create_task(served.dispatcher.dispatch(self.call))

    async def _incoming(self) -> AsyncIterator[bytes]:
        while (raw := await self._inbound.get()) is not None:
            yield raw

    def send(self, *messages: Message | bytes) -> None:
        for message in messages:
            self._inbound.put_nowait(message if isinstance(message, bytes) else message.SerializeToString())

    def half_close(self) -> None:
        self._inbound.put_nowait(None)

    @property
    def unread(self) -> int:
        """Commands that the server has not read yet."""
        return self._inbound.qsize()

    async def next(self) -> Any:
        """The next reply; the call's outcome where there is no further one."""
        async with asyncio.timeout(TIMEOUT):
            reading = asyncio.get_running_loop().create_task(self._outbound.get())
            await asyncio.wait([reading, self._task], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return self.operation.response_type.FromString(reading.result())
            reading.cancel()
            await asyncio.wait([reading])
            if not self._outbound.empty():
                return self.operation.response_type.FromString(self._outbound.get_nowait())
            return self._task.result()

    async def rest(self) -> tuple[list[Any], Outcome]:
        """Every further reply, and the outcome."""
        replies = []
        while not isinstance(reply := await self.next(), Outcome):
            replies.append(reply)
        return replies, reply

    async def outcome(self) -> Outcome:
        """How the call ended; replies that were not read are kept."""
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.shield(self._task)

    def break_off(self) -> None:
        """The connection is lost."""
        self.call.abort(Code.CANCELLED)


class Served:
    """A server's inside: the provider, its dispatcher and a watched engine."""

    def __init__(
        self, server: ServerSettings, settings: ServiceSettings, *, clock: Any = None, threads: int = 2
    ) -> None:
        self.backend = WatchedBackend()
        self.compute = ComputePool({"numpy": self.backend}, threads=threads)
        context = ComponentContext(
            name="mfn",
            server=server,
            worker=0,
            compute=self.compute,
            catalogue=Catalogue(),
            log=logging.getLogger("mfn.services.mfn"),
        )
        self.provider = MfnServices(settings, context, clock=clock)
        self.charges: list[tuple[str, float]] = []
        self.refuse_charges_from: int | None = None
        """Where set, the charge of this index and all later ones are refused."""
        self.dispatcher = Dispatcher(self.provider.services, [self._as_principal], charge=self._charge)

    async def _as_principal(self, call: Call, call_next: Callable[[Call], Awaitable[None]]) -> None:
        name = call.metadata.get("principal") or "alice"
        call.principal = Principal(name=name, roles=frozenset(["read"]), method="test")
        await call_next(call)

    async def _charge(self, call: Call, cost: float) -> None:
        if self.refuse_charges_from is not None and len(self.charges) >= self.refuse_charges_from:
            raise MfnError(Code.RESOURCE_EXHAUSTED, "no cell-steps left", retry_after=1.0)
        self.charges.append((call.operation.method, cost))

    def open(
        self,
        path: str,
        request: Message | bytes | None = None,
        *,
        principal: str = "alice",
        window: int = 0,
        timeout: float | None = None,
    ) -> Conversation:
        """Begin a call."""
        arguments: dict[str, Any] = {"metadata": Metadata([("principal", principal)])}
        if request is not None:
            raw = request if isinstance(request, bytes) else request.SerializeToString()
            arguments["request"] = Request(raw=raw)
        if timeout is not None:
            arguments["deadline"] = time.monotonic() + timeout
        return Conversation(self, path, arguments, window=window)

    async def unary(self, path: str, request: Message | bytes) -> Outcome:
        """A whole call of one request and one reply."""
        return await self.open(path, request).outcome()

    async def reply(self, path: str, request: Message) -> Any:
        """The decoded reply of a unary call that succeeds."""
        outcome = await self.unary(path, request)
        assert outcome.code is Code.OK, outcome.message
        assert outcome.reply is not None
        return self.dispatcher.operations[path].response_type.FromString(outcome.reply)

    async def frames(self, path: str, request: Message) -> list[Any]:
        """Every reply of a server-streaming call that succeeds."""
        replies, outcome = await self.open(path, request).rest()
        assert outcome.code is Code.OK, outcome.message
        return replies

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, looking whenever the loop turns."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0)

    def close(self) -> None:
        self.provider.sessions.stop()
        self.compute.shutdown()


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Make a server's inside; afterwards every session must be closed, and none misused."""
    made: list[Served] = []

    def make(*, clock: Any = None, threads: int = 2, service: dict[str, Any] | None = None, **server: Any) -> Served:
        made.append(Served(ServerSettings(**server), ServiceSettings(**(service or {})), clock=clock, threads=threads))
        return made[-1]

    yield make
    for each in made:
        assert each.dispatcher.active == 0
        each.close()
        assert each.backend.misuses == []
        assert each.backend.live == 0
        assert each.provider.sessions.live == 0
        assert each.provider.uploads.taken == 0


@pytest.fixture
def served(serve: Serve) -> Served:
    """A server's inside with small limits."""
    return serve(min_grid=4, max_grid=128, max_steps=1000, max_cell_steps=10_000_000)


@pytest.fixture(scope="session")
def bare_model() -> str:
    """The name of a model whose field is a potential, and which has none of the parameters of the others."""
    decay = Parameter(name="decay", default=0.1, unit="1/step", description="decay", minimum=0.0, maximum=1.0)
    potential = Species(
        name="potential",
        unit="V",
        description="decays",
        symbol="v",
        reaction="-decay * v",
        initial=Constant(value="0.01"),
    )
    model = FieldModel(
        name="service_tests_decay",
        summary="a potential that decays",
        species=(potential,),
        parameters=(decay,),
        boundary="periodic",
        source="tests of mfn_service",
    )
    return register_model(model).name


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    """Trainings and aggregations with the numbers that they must give."""
    text = (Path(__file__).parent / "data" / "training_and_aggregation.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="session")
def mycelium_runs() -> list[dict[str, Any]]:
    """Runs of the model with the numbers that they must give."""
    text = (Path(__file__).parent / "data" / "mycelium_runs.json").read_text(encoding="utf-8")
    runs: list[dict[str, Any]] = json.loads(text)
    return runs


class ManualClock:
    """A clock for timers that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[_ManualTimer] = []

    def call_later(self, delay: float, callback: Callable[[], object]) -> _ManualTimer:
        timer = _ManualTimer(self.now + delay, callback)
        self._timers.append(timer)
        return timer

    @property
    def pending(self) -> int:
        return sum(not timer.over for timer in self._timers)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in sorted(self._timers, key=lambda each: each.when):
            if not timer.over and timer.when <= self.now:
                timer.over = True
                timer.callback()


class _ManualTimer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.over = False

    def cancel(self) -> None:
        self.over = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
