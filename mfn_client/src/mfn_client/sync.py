"""The same client for programs without an event loop: methods block, streams are plain iterators."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from mfn_client._loop_thread import LoopThread
from mfn_client._requests import Parameters
from mfn_client.client import MFNClient
from mfn_client.results import SessionEnded
from mfn_client.session import SessionEvent, SteeringSession
from mfn_client.streams import ReplyStream

__all__ = ["MFNClientSync", "ReplyIterator", "SteeringSessionSync"]

P = ParamSpec("P")
T = TypeVar("T")

_END = object()


class ReplyIterator(Generic[T]):
    """The replies of one call, as an iterator; otherwise as `ReplyStream`. Threads may take turns in reading it."""

    def __init__(self, client: MFNClientSync, stream: ReplyStream[T]) -> None:
        """Made by the client's methods."""
        self._client = client
        self._stream = stream
        self._reading = threading.Lock()

    @property
    def request_id(self) -> str:
        """The call's."""
        return self._stream.request_id

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._reading:
            found: Any = self._client._run(_next_or(self._stream, _END))
        if found is _END:
            raise StopIteration
        result: T = found
        return result

    def close(self) -> None:
        """Give the rest up. Safe twice, and after the end."""
        self._client._run_if_open(self._stream.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SteeringSessionSync:
    """Steers one simulation; a context manager and an iterator of its events, otherwise as `SteeringSession`.

    One thread iterates; commands may come from it or from another one.
    """

    def __init__(self, client: MFNClientSync, session: SteeringSession) -> None:
        """Made by the client's methods."""
        self._client = client
        self._session = session
        self._reading = threading.Lock()

    @property
    def request_id(self) -> str:
        """The call's; frames carry that of the session's start."""
        return self._session.request_id

    @property
    def session_id(self) -> str:
        """Names the session to its principal and to nobody else; a secret between the two."""
        return self._session.session_id

    @property
    def resume_within_seconds(self) -> int:
        """How long the session can be resumed after its call broke, s."""
        return self._session.resume_within_seconds

    @property
    def opened_at_step(self) -> int:
        """Steps that were completed when the session was opened or last taken up."""
        return self._session.opened_at_step

    @property
    def opened_paused(self) -> bool:
        """Whether the session was paused when it was last taken up."""
        return self._session.opened_paused

    @property
    def last_step(self) -> int:
        """Step of the last frame that was seen; 0: none yet."""
        return self._session.last_step

    @property
    def resumptions(self) -> int:
        """How often the session was taken up again after its connection broke."""
        return self._session.resumptions

    @property
    def ended(self) -> SessionEnded | None:
        """How the session ended, once that event has been read."""
        return self._session.ended

    def pause(self) -> int:
        """As `SteeringSession.pause`."""
        return self._client._run(self._session.pause())

    def resume(self) -> int:
        """As `SteeringSession.resume`."""
        return self._client._run(self._session.resume())

    def change(
        self,
        *,
        alpha: float | None = None,
        spike_probability: float | None = None,
        parameters: Parameters | None = None,
    ) -> int:
        """As `SteeringSession.change`."""
        change = self._session.change(alpha=alpha, spike_probability=spike_probability, parameters=parameters)
        return self._client._run(change)

    def inject(
        self, row: int, column: int, amplitude_volts: float | None = None, *, amplitude: float | None = None
    ) -> int:
        """As `SteeringSession.inject`."""
        return self._client._run(self._session.inject(row, column, amplitude_volts, amplitude=amplitude))

    def stop(self) -> int:
        """As `SteeringSession.stop`."""
        return self._client._run(self._session.stop())

    def detach(self) -> None:
        """As `SteeringSession.detach`."""
        self._session.detach()

    def __iter__(self) -> Iterator[SessionEvent]:
        return self

    def __next__(self) -> SessionEvent:
        with self._reading:
            found: Any = self._client._run(_next_or(self._session, _END))
        if found is _END:
            raise StopIteration
        event: SessionEvent = found
        return event

    def __enter__(self) -> Self:
        self._client._run(self._session.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client._run_if_open(lambda: self._session.__aexit__(kind, error, trace))


async def _next_or(items: ReplyStream[Any] | SteeringSession, end: object) -> Any:
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        return end


# Each keeps the signature and the documentation of the method that it wraps.


def _constructing(make: Callable[P, MFNClient]) -> Callable[Concatenate[MFNClientSync, P], None]:
    @functools.wraps(MFNClient.__init__)
    def construct(self: MFNClientSync, /, *args: P.args, **kwargs: P.kwargs) -> None:
        self._use(make(*args, **kwargs))

    return construct


def _blocking(
    method: Callable[Concatenate[MFNClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[MFNClientSync, P], T]:
    @functools.wraps(method)
    def call(self: MFNClientSync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[MFNClient, P], ReplyStream[T]],
) -> Callable[Concatenate[MFNClientSync, P], ReplyIterator[T]]:
    @functools.wraps(method)
    def call(self: MFNClientSync, /, *args: P.args, **kwargs: P.kwargs) -> ReplyIterator[T]:
        return ReplyIterator(self, method(self._client, *args, **kwargs))

    return call


def _steering(
    method: Callable[Concatenate[MFNClient, P], SteeringSession],
) -> Callable[Concatenate[MFNClientSync, P], SteeringSessionSync]:
    @functools.wraps(method)
    def call(self: MFNClientSync, /, *args: P.args, **kwargs: P.kwargs) -> SteeringSessionSync:
        return SteeringSessionSync(self, method(self._client, *args, **kwargs))

    return call


_construct = _constructing(MFNClient)


class MFNClientSync:
    """A connection to one server; a context manager. Use from any number of threads.

    The methods and their arguments are those of `MFNClient`, which it runs on an event loop in a thread of its own.
    They block; streams are iterators, and the session of `steer` is a plain context manager. Not for use inside an
    event loop, which it would hold up: there is `MFNClient` for that.
    """

    __init__ = _construct

    def _use(self, client: MFNClient) -> None:
        self._client = client
        self._changing = threading.Lock()
        self._thread: LoopThread | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    @property
    def target(self) -> str:
        """What it calls."""
        return self._client.target

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Open the client without `with`; `close` it afterwards. The connection is made by the first call.

        Raises:
            RuntimeError: it is open already.
        """
        with self._changing:
            if self._thread is not None:
                raise RuntimeError("the client is open already")
            thread = LoopThread(self._client.close, name="mfn-client")
            thread.run(self._client.connect())
            self._thread = thread
            # A client that is dropped or left open at the end of the program is closed as well.
            self._finalizer = weakref.finalize(self, thread.stop)

    def close(self) -> None:
        """End the calls in flight, of all threads, with CANCELLED and close the connection. Safe twice."""
        with self._changing:
            self._thread = None
            finalizer, self._finalizer = self._finalizer, None
            if finalizer is not None:
                finalizer()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        thread = self._thread
        if thread is None:
            coroutine.close()
            raise RuntimeError("open the client first: with the client, or by its connect()")
        return thread.run(coroutine)

    def _run_if_open(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it, unless the client was closed, which has ended everything already."""
        thread = self._thread
        if thread is not None:
            thread.run(make())

    extract_features = _blocking(MFNClient.extract_features)
    stream_features = _iterating(MFNClient.stream_features)
    run_simulation = _blocking(MFNClient.run_simulation)
    stream_simulation = _iterating(MFNClient.stream_simulation)
    validate_pattern = _blocking(MFNClient.validate_pattern)

    simulate = _iterating(MFNClient.simulate)
    analyze_field = _blocking(MFNClient.analyze_field)
    steer = _steering(MFNClient.steer)
    resume = _steering(MFNClient.resume)

    list_models = _blocking(MFNClient.list_models)
    describe_model = _blocking(MFNClient.describe_model)

    aggregate_gradients = _blocking(MFNClient.aggregate_gradients)

    nernst = _blocking(MFNClient.nernst)
    validate = _blocking(MFNClient.validate)
    simulate_history = _blocking(MFNClient.simulate_history)
    stream_history = _iterating(MFNClient.stream_history)
    aggregate_federated = _blocking(MFNClient.aggregate_federated)

    health_check = _blocking(MFNClient.health_check)
