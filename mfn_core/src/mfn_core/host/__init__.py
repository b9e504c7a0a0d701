"""Where the server's Python lives: a supervisor that checks the configuration, and the workers that serve.

`serve` is the supervisor. Each worker assembles the whole server for itself. A worker is a plain Python process, or
a process that a transport brings with it, such as Envoy with Python inside. They are tied together by one inherited
socket a worker (`mfn_core.host.control`): through it the worker gets its configuration and says when it is ready or
drained, and its end-of-file is how a worker learns that its supervisor is gone.
"""

from __future__ import annotations

from mfn_core.host.contract import Launched, PythonHost, WorkerCommand, WorkerHost
from mfn_core.host.defaults import DEFAULTS_GROUP, default_document
from mfn_core.host.supervisor import serve

__all__ = [
    "DEFAULTS_GROUP",
    "Launched",
    "PythonHost",
    "WorkerCommand",
    "WorkerHost",
    "default_document",
    "serve",
]
