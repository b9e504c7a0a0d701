"""The suites as a stranger meets them: without any setting, with each defect found by the test that is about it."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = "pytester"

MIDDLEWARE = """
import asyncio
import pytest
from mfn_core import Code, MfnError
from mfn_core.testing.middleware import MiddlewareSuite

class Middleware:
    started = 0

    async def start(self):
        self.started += 1

    async def stop(self):
        self.started -= 1

    async def __call__(self, call, call_next):
        assert self.started == 1
        await call_next(call)

class TestMiddleware(MiddlewareSuite):
    @pytest.fixture
    def middleware(self):
        return Middleware()
"""

SERVICE = """
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from mfn_core import FieldViolation, MfnError, Operation, Service, Shape
from mfn_core.testing.service import ServiceSuite

def violations(request):
    return [FieldViolation(field="value", description="below 0")] if request.value < 0 else []

async def double(request, call):
    return Int64Value(value=min(request.value, 2**40) * 2)

async def count(request, call):
    for number in range(min(request.value, 9)):
        yield Int64Value(value=number)

async def total(requests, call):
    return Int64Value(value=sum([min(request.value, 2**40) async for request in requests]))

class Provider:
    @property
    def services(self):
        def operation(method, shape, handler, **settings):
            return Operation(
                service="test.Numbers", method=method, shape=shape, request_type=Int64Value,
                response_type=Int64Value, handler=handler, validate=violations, **settings,
            )
        operations = [
            operation("Double", Shape.UNARY, double, deterministic=True),
            operation("Count", Shape.SERVER_STREAM, count),
            operation("Total", Shape.CLIENT_STREAM, total),
        ]
        return [Service(name="test.Numbers", operations=operations)]

class TestService(ServiceSuite):
    @pytest.fixture
    def provider(self):
        return Provider()

    def valid(self):
        number = Int64Value(value=3)
        return {
            "/test.Numbers/Double": [number],
            "/test.Numbers/Count": [number, Int64Value()],
            "/test.Numbers/Total": [[number, number], []],
        }

    def invalid(self):
        return {"/test.Numbers/Double": [Int64Value(value=-1)], "/test.Numbers/Total": [[Int64Value(value=-1)]]}
"""

LIMITER = """
import pytest
from mfn_core import Code, MfnError
from mfn_core.testing.limits import LimiterSuite

class Lease:
    def __init__(self, running, name):
        self.running, self.name = running, name

    def release(self):
        self.running.discard(self.name)

class Limiter:
    def __init__(self):
        self.running = set()

    async def admit(self, call):
        if call.principal is None:
            return Lease(self.running, "")
        name = call.principal.name
        if name in self.running:
            raise MfnError(Code.RESOURCE_EXHAUSTED, "one at once", retry_after=1.0, details={"limit": "one"})
        self.running.add(name)
        return Lease(self.running, name)

    async def charge(self, call, cost):
        pass

class TestLimiter(LimiterSuite):
    @pytest.fixture
    def one_slot(self):
        return Limiter()
"""

AUTHENTICATOR = """
import pytest
from mfn_core import Principal, unauthenticated
from mfn_core.testing.auth import AuthenticatorSuite

class Authenticator:
    async def authenticate(self, call):
        given = call.metadata.get("x-key")
        if given is None:
            return None
        if given != "sesame":
            raise unauthenticated("not the key")
        return Principal(name="friend", roles=frozenset({"read"}), method="key")

class TestAuthenticator(AuthenticatorSuite):
    covers_body = covers_method = single_use = False

    @pytest.fixture
    def authenticator(self):
        return Authenticator()

    def credentials(self, path, body):
        return [("x-key", "sesame")]

    def wrong(self, path, body):
        return {"another key": [("x-key", "barley")]}

    def secrets(self):
        return ["sesame", "barley"]
"""


def outcome(pytester: pytest.Pytester, text: str) -> tuple[dict[str, int], set[str], str]:
    """Counts, names of the tests that failed, and what was printed."""
    pytester.makepyfile(test_stranger=textwrap.dedent(text))
    # Neither `asyncio_mode` nor a marker: pytest-asyncio is strict unless told otherwise.
    ran = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    printed = ran.stdout.str()
    lines = [line.split("::")[-1].split(" ")[0] for line in ran.outlines if line.startswith(("FAILED", "ERROR"))]
    return ran.parseoutcomes(), {line.partition("[")[0].removeprefix("test_") for line in lines}, printed


@pytest.mark.parametrize(
    ("text", "passed", "skipped"),
    [(MIDDLEWARE, 29, 0), (SERVICE, 7, 0), (LIMITER, 5, 2), (AUTHENTICATOR, 10, 3)],
    ids=["middleware", "service", "limiter", "authenticator"],
)
def test_what_is_sound_passes_without_any_setting(
    pytester: pytest.Pytester, text: str, passed: int, skipped: int
) -> None:
    counts, failed, printed = outcome(pytester, text)
    assert failed == set(), printed
    assert (counts["passed"], counts.get("skipped", 0)) == (passed, skipped), printed


@pytest.mark.parametrize(
    ("text", "old", "new", "finds"),
    [
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        pass",
            "a_call_goes_through_once_and_unchanged",
            id="middleware: calls nobody on",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        await call_next(call); await call_next(call)",
            "a_call_goes_through_once_and_unchanged",
            id="middleware: calls on twice",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        asyncio.ensure_future(call_next(call))",
            "a_call_goes_through_once_and_unchanged",
            id="middleware: returns before the call is over",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        if call.principal: await call_next(call)",
            "a_call_goes_through_once_and_unchanged",
            id="middleware: loses public calls",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        try: await call_next(call)\n        except MfnError: pass",
            "an_error_goes_through_unchanged",
            id="middleware: swallows errors",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        try: await call_next(call)\n"
            "        except MfnError as e: raise MfnError(Code.UNKNOWN, str(e)) from e",
            "a_defect_of_a_handler_stays_an_internal_error",
            id="middleware: changes errors",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        try: await call_next(call)\n"
            "        except MfnError as e:\n"
            "            if e.code is not Code.CANCELLED: raise",
            "a_call_that_ends_early_ends_as_what_it_is",
            id="middleware: swallows cancellation",
        ),
        pytest.param(
            MIDDLEWARE,
            "        await call_next(call)",
            "        self.call = call\n        await asyncio.sleep(0)\n        await call_next(self.call)",
            "calls_at_once_do_not_mix",
            id="middleware: keeps a call in itself",
        ),
        pytest.param(
            SERVICE,
            "    return Int64Value(value=min",
            "    return StringValue(value='ä' * 40) if request.value else Int64Value(value=min",
            "valid_requests_are_answered",
            id="service: replies with another type",
        ),
        pytest.param(
            SERVICE,
            "request.value < 0 else []",
            "request.value < -5 else []",
            "invalid_requests_are_refused_with_the_field_at_fault",
            id="service: takes what is invalid",
        ),
        pytest.param(
            SERVICE,
            "min(request.value, 2**40) * 2",
            "request.value * 2**40",
            "a_message_without_sense_is_no_defect",
            id="service: overflows",
        ),
        pytest.param(
            SERVICE,
            "async def double(request, call):",
            "import itertools\nnumbers = itertools.count()\n\nasync def double(request, call):\n"
            "    return Int64Value(value=next(numbers))",
            "a_deterministic_operation_gives_the_same_reply_again",
            id="service: is not deterministic",
        ),
        pytest.param(
            SERVICE,
            "async def double(request, call):",
            "async def double(request, call):\n"
            "    import asyncio\n"
            "    try: await asyncio.sleep(0.01)\n"
            "    except asyncio.CancelledError: raise ValueError('cancelled')",
            "a_call_that_is_given_up_ends",
            id="service: turns cancellation into a defect",
        ),
        pytest.param(
            SERVICE,
            'operation("Double", Shape.UNARY, double',
            'operation("Double", Shape.UNARY, double, role="owner"',
            "names_and_roles_are_what_transports_and_configurations_take",
            id="service: needs a role that does not exist",
        ),
        pytest.param(
            SERVICE,
            '"/test.Numbers/Count": [number, Int64Value()],',
            "",
            "every_operation_has_a_valid_request_here",
            id="service: has an operation without a request",
        ),
        pytest.param(
            LIMITER, "self.running.discard", "print", "a_slot_is_free_again_after_its_release", id="limiter: leaks"
        ),
        pytest.param(
            LIMITER,
            "name = call.principal.name",
            "name = 'everybody'",
            "principals_do_not_share_slots",
            id="limiter: shares slots",
        ),
        pytest.param(
            LIMITER,
            "call.principal is None",
            "False",
            "a_public_operation_is_outside_every_limit",
            id="limiter: limits public operations",
        ),
        pytest.param(
            LIMITER,
            ', details={"limit": "one"}',
            "",
            "a_refused_call_holds_no_slot",
            id="limiter: does not name the limit",
        ),
        pytest.param(
            LIMITER,
            "def one_slot(self)",
            "def two_slots(self)",
            "a_public_operation_is_outside_every_limit",
            id="limiter: nothing is given",
        ),
        pytest.param(
            AUTHENTICATOR,
            'raise unauthenticated("not the key")',
            "return None",
            "wrong_credentials_are_refused_with_one_text_and_their_true_reason",
            id="authenticator: leaves wrong credentials to others",
        ),
        pytest.param(
            AUTHENTICATOR,
            '"not the key"',
            'f"{given} is not the key"',
            "wrong_credentials_are_refused_with_one_text_and_their_true_reason",
            id="authenticator: shows a secret",
        ),
        pytest.param(
            AUTHENTICATOR,
            "single_use = False",
            "single_use = True",
            "many_calls_at_once_do_not_disturb_each_other",
            id="authenticator: nothing is said of what credentials cover",
        ),
        pytest.param(
            AUTHENTICATOR,
            'frozenset({"read"})',
            'frozenset({"reader"})',
            "right_credentials_prove_a_principal",
            id="authenticator: proves a role that does not exist",
        ),
    ],
)
def test_a_defect_fails_the_test_that_is_about_it(
    pytester: pytest.Pytester, text: str, old: str, new: str, finds: str
) -> None:
    assert old in text
    _, failed, printed = outcome(pytester, text.replace(old, new))
    assert finds in failed, printed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from mfn_core.testing.middleware import MiddlewareSuite as S", "TestIt gives no fixture `middleware`"),
        ("from mfn_core.testing.service import ServiceSuite as S", "TestIt gives no fixture `provider`"),
        ("from mfn_core.testing.limits import LimiterSuite as S", "TestIt gives none of the fixtures one_slot"),
        ("from mfn_core.testing.auth import AuthenticatorSuite as S", "fixture 'authenticator' not found"),
        ("from mfn_core.testing.audit import AuditSinkSuite as S", "TestIt gives no `make_sink`"),
        ("from mfn_core.testing.backend import BackendSuite as S", "TestIt gives no fixture `backend`"),
        ("from mfn_core.testing.plugin import PluginSuite as S", "TestIt gives no `plugin`"),
    ],
)
def test_what_a_subclass_forgot_is_named(pytester: pytest.Pytester, text: str, says: str) -> None:
    _, failed, printed = outcome(pytester, f"{text}\n\nclass TestIt(S):\n    pass\n")
    assert failed
    assert says in printed


def test_an_assertion_of_a_suite_tells_its_values(pytester: pytest.Pytester) -> None:
    # In a process of its own: an assertion is rewritten when its module is imported, which has been done here.
    pytester.makepyfile(test_stranger=LIMITER.replace("name = call.principal.name", "name = str(len(self.running))"))
    ran = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    ran.stdout.fnmatch_lines(["E *assert 50 == 1*"])
