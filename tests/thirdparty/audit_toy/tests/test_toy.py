import json

from audit_toy import ToySettings, ToySink

from mfn_core.testing.audit import AuditSinkSuite
from mfn_core.testing.plugin import PluginSuite


class TestToySink(AuditSinkSuite):
    def make_sink(self, place):
        return ToySink(ToySettings(path=place / "records"), context=None)

    def read_back(self, sink):
        with sink.path.open(encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in file]


class TestToyPlugin(PluginSuite):
    plugin = "audit_toy"
