from typing import ClassVar

import pytest
from auth_toy import ToyAuthenticator, ToySettings

from mfn_core import Secret
from mfn_core.testing.auth import AuthenticatorSuite
from mfn_core.testing.plugin import PluginSuite


class TestToyAuthenticator(AuthenticatorSuite):
    covers_body = covers_method = single_use = False

    @pytest.fixture
    def authenticator(self) -> ToyAuthenticator:
        return ToyAuthenticator(ToySettings(key=Secret("sesame")), context=None)

    def credentials(self, path, body):
        return [("x-toy-key", "sesame")]

    def wrong(self, path, body):
        return {"another": [("x-toy-key", "barley")], "empty": [("x-toy-key", "")]}

    def secrets(self):
        return ["sesame", "barley"]


class TestToyPlugin(PluginSuite):
    plugin = "auth_toy"
    settings: ClassVar = {"auth.toy": {"key": "sesame"}}
