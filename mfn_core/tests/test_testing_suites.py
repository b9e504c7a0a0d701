"""The suites as a stranger meets them: without any setting, with each defect found by the test that is about it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

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


Defects = Mapping[str, tuple[str, str, str]]
"""By what is wrong: what stands in a sound text, what stands there instead, and the test that is about it."""

MIDDLEWARE_DEFECTS: Defects = {
    "calls nobody on": (
        "        await call_next(call)",
        "        pass",
        "a_call_goes_through_once_and_unchanged",
    ),
    "calls on twice": (
        "        await call_next(call)",
        "        await call_next(call); await call_next(call)",
        "a_call_goes_through_once_and_unchanged",
    ),
    "returns before the call is over": (
        "        await call_next(call)",
        "        asyncio.ensure_future(call_next(call))",
        "a_call_goes_through_once_and_unchanged",
    ),
    "loses public calls": (
        "        await call_next(call)",
        "        if call.principal: await call_next(call)",
        "a_call_goes_through_once_and_unchanged",
    ),
    "swallows errors": (
        "        await call_next(call)",
        "        try: await call_next(call)\n        except MfnError: pass",
        "an_error_goes_through_unchanged",
    ),
    "changes errors": (
        "        await call_next(call)",
        "        try: await call_next(call)\n        except MfnError as e: raise MfnError(Code.UNKNOWN, str(e)) from e",
        "a_defect_of_a_handler_stays_an_internal_error",
    ),
    "swallows cancellation": (
        "        await call_next(call)",
        "        try: await call_next(call)\n"
        "        except MfnError as e:\n"
        "            if e.code is not Code.CANCELLED: raise",
        "a_call_that_ends_early_ends_as_what_it_is",
    ),
    "keeps a call in itself": (
        "        await call_next(call)",
        "        self.call = call\n        await asyncio.sleep(0)\n        await call_next(self.call)",
        "calls_at_once_do_not_mix",
    ),
}

SERVICE_DEFECTS: Defects = {
    "replies with another type": (
        "    return Int64Value(value=min",
        "    return StringValue(value='ä' * 40) if request.value else Int64Value(value=min",
        "valid_requests_are_answered",
    ),
    "takes what is invalid": (
        "request.value < 0 else []",
        "request.value < -5 else []",
        "invalid_requests_are_refused_with_the_field_at_fault",
    ),
    "divides by what it is sent": (
        "min(request.value, 2**40) * 2",
        "6 // request.value",
        "a_message_without_sense_is_no_defect",
    ),
    "is not deterministic": (
        "async def double(request, call):",
        "import itertools\nnumbers = itertools.count()\n\nasync def double(request, call):\n"
        "    return Int64Value(value=next(numbers))",
        "a_deterministic_operation_gives_the_same_reply_again",
    ),
    "turns cancellation into a defect": (
        "async def double(request, call):",
        "async def double(request, call):\n"
        "    import asyncio\n"
        "    try: await asyncio.sleep(0.01)\n"
        "    except asyncio.CancelledError: raise ValueError('cancelled')",
        "a_call_that_is_given_up_ends",
    ),
    "needs a role that does not exist": (
        'operation("Double", Shape.UNARY, double',
        'operation("Double", Shape.UNARY, double, role="owner"',
        "names_and_roles_are_what_transports_and_configurations_take",
    ),
    "has an operation without a request": (
        '"/test.Numbers/Count": [number, Int64Value()],',
        "",
        "every_operation_has_a_valid_request_here",
    ),
}

LIMITER_DEFECTS: Defects = {
    "leaks": (
        "self.running.discard",
        "print",
        "a_slot_is_free_again_after_its_release",
    ),
    "shares slots": (
        "name = call.principal.name",
        "name = 'everybody'",
        "principals_do_not_share_slots",
    ),
    "limits public operations": (
        "call.principal is None",
        "False",
        "a_public_operation_is_outside_every_limit",
    ),
    "does not name the limit": (
        ', details={"limit": "one"}',
        "",
        "a_refused_call_holds_no_slot",
    ),
    "nothing is given": (
        "def one_slot(self)",
        "def two_slots(self)",
        "a_public_operation_is_outside_every_limit",
    ),
}

AUTHENTICATOR_DEFECTS: Defects = {
    "leaves wrong credentials to others": (
        'raise unauthenticated("not the key")',
        "return None",
        "wrong_credentials_are_refused_with_one_text_and_their_true_reason",
    ),
    "shows a secret": (
        '"not the key"',
        'f"{given} is not the key"',
        "wrong_credentials_are_refused_with_one_text_and_their_true_reason",
    ),
    "nothing is said of what credentials cover": (
        "single_use = False",
        "single_use = True",
        "credentials_serve_one_call",
    ),
    "proves a role that does not exist": (
        'frozenset({"read"})',
        'frozenset({"reader"})',
        "right_credentials_prove_a_principal",
    ),
}

QUIETLY = (
    "-q",
    "--tb=short",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-W",
    "ignore::pytest.PytestDeprecationWarning",
)


def outcome(pytester: pytest.Pytester, texts: Mapping[str, str]) -> tuple[dict[str, set[str]], pytest.RunResult]:
    """The names of the tests that failed or could not begin, by text; and the run of all texts."""
    files = {f"test_{number}": title for number, title in enumerate(texts)}
    pytester.makepyfile(**{file: textwrap.dedent(texts[title]) for file, title in files.items()})
    # Neither `asyncio_mode` nor a marker: pytest-asyncio is strict unless told otherwise.
    ran = pytester.runpytest_subprocess(*QUIETLY)
    failed: dict[str, set[str]] = {title: set() for title in texts}
    for line in ran.outlines:
        if found := re.match(r"(?:FAILED|ERROR) (\w+)\.py::\w+::test_(\w+)", line):
            failed[files[found[1]]].add(found[2])
    return failed, ran


@pytest.mark.slow
def test_what_is_sound_passes_without_any_setting(pytester: pytest.Pytester) -> None:
    texts = {"middleware": MIDDLEWARE, "service": SERVICE, "limiter": LIMITER, "authenticator": AUTHENTICATOR}
    failed, ran = outcome(pytester, texts)
    assert failed == {title: set() for title in texts}
    counts = ran.parseoutcomes()
    # Tokens and cell-steps of a limiter that has none; body, method and single use of an authenticator that has none.
    assert (counts["passed"], counts["skipped"]) == (51, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sound", "defects"),
    [
        pytest.param(MIDDLEWARE, MIDDLEWARE_DEFECTS, id="middleware"),
        pytest.param(SERVICE, SERVICE_DEFECTS, id="service"),
        pytest.param(LIMITER, LIMITER_DEFECTS, id="limiter"),
        pytest.param(AUTHENTICATOR, AUTHENTICATOR_DEFECTS, id="authenticator"),
    ],
)
def test_a_defect_fails_the_test_that_is_about_it(pytester: pytest.Pytester, sound: str, defects: Defects) -> None:
    for title, (old, _, _) in defects.items():
        assert old in sound, title
    failed, _ = outcome(pytester, {title: sound.replace(old, new) for title, (old, new, _) in defects.items()})
    assert {title: found for title, (_, _, found) in defects.items() if found not in failed[title]} == {}


FORGOTTEN = {
    "middleware.MiddlewareSuite": "TestIt gives no fixture `middleware`",
    "service.ServiceSuite": "TestIt gives no fixture `provider`",
    "limits.LimiterSuite": "TestIt gives none of the fixtures one_slot",
    "auth.AuthenticatorSuite": "fixture 'authenticator' not found",
    "audit.AuditSinkSuite": "TestIt gives no `make_sink`",
    "backend.BackendSuite": "TestIt gives no fixture `backend`",
    "plugin.PluginSuite": "TestIt gives no `plugin`",
}


@pytest.mark.slow
def test_what_a_subclass_forgot_is_named(pytester: pytest.Pytester) -> None:
    texts = {}
    for suite in FORGOTTEN:
        module, _, name = suite.partition(".")
        texts[suite] = f"from mfn_core.testing.{module} import {name} as S\n\nclass TestIt(S):\n    pass\n"
    failed, ran = outcome(pytester, texts)
    assert {suite for suite in texts if not failed[suite]} == set()
    printed = ran.stdout.str()
    assert [says for says in FORGOTTEN.values() if says not in printed] == []


@pytest.mark.slow
def test_an_assertion_of_a_suite_tells_its_values(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_stranger=LIMITER.replace("name = call.principal.name", "name = str(len(self.running))"))
    ran = pytester.runpytest_subprocess(*QUIETLY)
    ran.stdout.fnmatch_lines(["E *assert 50 == 1*"])
