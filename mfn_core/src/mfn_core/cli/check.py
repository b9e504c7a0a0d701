"""`mfn check`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mfn_core.cli._configured import configuration_options, load, problems_on_stderr
from mfn_core.cli._engines import describe_engines
from mfn_core.cli._output import Table, show

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_core.server import Server

__all__ = ["check"]

LIMITS = ("min_grid", "max_grid", "max_steps", "max_cell_steps", "compute_threads", "compute_queue", "drain_seconds")
"""Attributes of `[server]` that bound what a call may ask for and how much runs at once."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@configuration_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a configuration would run, or everything that is wrong with it.

    Opens no port, but makes everything: keys and certificates must be there. Its engines are measured for a moment
    (server.calibration_seconds). Exit status 2 when something is wrong.
    """
    with problems_on_stderr(), tempfile.TemporaryDirectory(prefix="mfn-check-") as directory:
        document = load(config, overrides, Path(directory))
        from mfn_core.server import assemble

        # Everything is made as a server makes it, and nothing started: keys and certificates are read, no port opened.
        server = assemble(document)
        try:
            described = _describe(server)
        finally:
            server.compute.shutdown()
    if as_json:
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        show(_tables(described))


def _describe(made: Server) -> dict[str, Any]:
    from mfn_core.components import ComponentKind
    from mfn_core.config import plain

    plan = made.plan
    server = plain(plan.server)
    transports = plan.of(ComponentKind.TRANSPORT)
    return {
        "source": plan.document.source,
        "plugins": [
            {"name": plugin.name, "distribution": plugin.distribution} for plugin in plan.registry.plugins.values()
        ],
        "components": [
            {
                "kind": component.kind.name.lower(),
                "section": component.path,
                "plugin": component.registered.plugin,
                "stability": component.spec.stability,
                "scope": component.spec.scope,
                "summary": component.spec.summary,
                "settings": plain(component.config),
            }
            for component in plan.components
        ],
        "chain": _chain(plan),
        "listeners": [
            {
                "section": transport.path,
                "listen": getattr(transport.config, "listen", None),
                "encrypted": bool(getattr(transport.config, "encrypted", False)),
            }
            for transport in transports
        ],
        "server": server,
        "engines": describe_engines(made),
        "cache": plain(plan.cache),
    }


def _chain(plan: Plan) -> list[dict[str, Any]]:
    """The stages outermost first, each with the components that stand in it."""
    from mfn_core.components import ComponentKind

    stages = {
        "audit": ComponentKind.AUDIT_SINK,
        "telemetry": ComponentKind.TELEMETRY,
        "auth": ComponentKind.AUTHENTICATOR,
        "limit": ComponentKind.LIMITER,
    }
    chain = []
    for stage in plan.pipeline.order:
        members = [component.name for component in plan.of(stages[stage])] if stage in stages else [stage]
        if stage == "auth" and plan.anonymous:
            members.append("anonymous")
        chain.append({"stage": stage, "components": members})
    return chain


def _tables(described: dict[str, Any]) -> list[Table]:
    chain = [(stage["stage"], ", ".join(stage["components"]) or "none") for stage in described["chain"]]
    return [
        Table(
            title=f"plugins of {described['source']}",
            columns=("name", "distribution"),
            rows=[(plugin["name"], plugin["distribution"]) for plugin in described["plugins"]],
        ),
        Table(
            title="components",
            columns=("kind", "section", "plugin", "stability", "scope"),
            rows=[
                tuple(component[key] for key in ("kind", "section", "plugin", "stability", "scope"))
                for component in described["components"]
            ],
        ),
        Table(title="chain around every call, outermost first", rows=[*chain, ("handler", "")]),
        Table(
            title="listeners",
            columns=("section", "address", "encryption"),
            rows=[
                (listener["section"], str(listener["listen"]), "TLS" if listener["encrypted"] else "none")
                for listener in described["listeners"]
            ],
        ),
        Table(
            title=f"engines, on one thread; server.engine is {described['server']['engine']}",
            columns=("name", "cell-steps/s", "", "max_cell_steps lasts"),
            rows=[_engine_row(engine) for engine in described["engines"]],
        ),
        Table(
            title="limits",
            rows=[
                ("workers", str(described["server"]["workers"])),
                *((name, str(described["server"][name])) for name in LIMITS),
                *((f"batching.{name}", str(value)) for name, value in described["server"]["batching"].items()),
                *((f"cache.{name}", str(value).lower()) for name, value in described["cache"].items()),
            ],
        ),
    ]


def _engine_row(engine: dict[str, Any]) -> tuple[str, str, str, str]:
    if engine["speed"] is None:
        return engine["name"], "", engine["from"], ""
    return engine["name"], f"{engine['speed']:.3g}", engine["from"], f"{engine['max_call_seconds']:.3g} s"
