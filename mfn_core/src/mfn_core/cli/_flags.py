"""The short flags of `mfn serve`, as overrides of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from mfn_core.config import Document

__all__ = ["Flags"]

WARNING = (
    "AUTHENTICATION IS OFF: every program on this machine may call this server, with the role {role!r}. "
    "Leave --no-auth out for anything but trying things out."
)


class Flags(NamedTuple):
    """What the command line says beside `--set`."""

    ports: Sequence[str]
    """`PORT` or `NAME=PORT`."""
    no_auth: bool

    def applied(self, document: Document) -> Document:
        """The document with the flags on top; says loudly when authentication is off.

        Raises:
            ConfigError: a port is malformed, or authentication is off and a listener is reachable from elsewhere.
        """
        from mfn_core.assembly import is_loopback, plan
        from mfn_core.components import ComponentKind
        from mfn_core.config import ConfigError, Problem, join_path, override, toml_value

        if not self.ports and not self.no_auth:
            return document
        if self.no_auth:
            server = document.tables.get("server", {})
            present = server.get("allow", []) if isinstance(server, dict) else []
            allowed = list(dict.fromkeys([*present, "anonymous"])) if isinstance(present, list) else present
            document = override(document, [f"server.allow={toml_value(allowed)}"])
        if not self.ports:
            planned = plan(document)
        else:
            # Planned once without them, to know the transports that the ports are of.
            planned = plan(document)
            names = [transport.name for transport in planned.of(ComponentKind.TRANSPORT)]
            overrides, problems = [], []
            for given in self.ports:
                name, _, number = given.rpartition("=")
                name = name or names[0]
                if name not in names or not number.isdecimal() or int(number) > 65_535:
                    problems.append(
                        Problem(
                            path=f"--port {given}",
                            message="is not a port of a transport of this server",
                            remedy=f"write PORT or NAME=PORT, with 0 to 65535 and one of: {', '.join(names)}",
                        )
                    )
                    continue
                transport = next(each for each in planned.of(ComponentKind.TRANSPORT) if each.name == name)
                host = str(transport.config.listen).rpartition(":")[0]
                path = join_path(join_path("transports", name), "listen")
                overrides.append(f"{path}={toml_value(f'{host}:{number}')}")
            if problems:
                raise ConfigError(problems)
            document = override(document, overrides)
            planned = plan(document)
        if self.no_auth:
            wide = [
                Problem(
                    path=f"{transport.path}.listen",
                    message=f"{transport.config.listen} is reachable from other machines, and --no-auth is given",
                    remedy="leave --no-auth out, or listen on 127.0.0.1",
                )
                for transport in planned.of(ComponentKind.TRANSPORT)
                if not is_loopback(str(getattr(transport.config, "listen", "127.0.0.1:0")))
            ]
            if wide:
                raise ConfigError(wide)
            text = WARNING.format(role=planned.server.anonymous_role)
            click.echo(click.style(text, fg="white", bg="red", bold=True), err=True)
        return document
