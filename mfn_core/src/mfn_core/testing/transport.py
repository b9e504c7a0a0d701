"""What every transport must do, as a suite that its author subclasses; it talks to a real server over real sockets."""

from __future__ import annotations

import pytest

# Before they are imported, so that a failing assertion of theirs tells its values.
pytest.register_assert_rewrite(
    "mfn_core.testing._transport_answers",
    "mfn_core.testing._transport_endings",
    "mfn_core.testing._transport_failures",
    "mfn_core.testing._transport_harness",
)

from mfn_core.testing._transport_answers import AnswerTests  # noqa: E402 - see above
from mfn_core.testing._transport_endings import EndingTests  # noqa: E402 - see above
from mfn_core.testing._transport_failures import FailureTests  # noqa: E402 - see above

__all__ = ["TransportSuite"]


class TransportSuite(AnswerTests, FailureTests, EndingTests):
    """Subclass it under a name that begins with `Test`, and give `plugins`, `tables`, `name` and `client`.

    Needs pytest-asyncio. One server process is started for the class, and one more for each test that ends its server.
    """
