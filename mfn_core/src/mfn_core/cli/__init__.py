"""The command line: `mfn serve`, `mfn check`, `mfn plugins`, and the commands of other distributions.

A distribution adds a command by an entry point of the group `mfn.commands.v1`: the command's name, and as its value
`module:click_command`. It is imported only when it is run; the list of commands is read from metadata and source.
"""

from __future__ import annotations

import click

from mfn_core.cli._group import COMMANDS_GROUP, LazyGroup

__all__ = ["COMMANDS_GROUP", "main"]


@click.group(
    cls=LazyGroup,
    built_in={
        "serve": "mfn_core.cli.serve:serve",
        "check": "mfn_core.cli.check:check",
        "config": "mfn_core.cli.config:config",
        "plugins": "mfn_core.cli.plugins:plugins",
        "new": "mfn_core.cli.new:new",
        "completion": "mfn_core.cli.completion:completion",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="mfn-core", prog_name="mfn", message="%(prog)s %(version)s")
def main() -> None:
    """Simulate, measure and serve fields that grow like mycelium.

    Exit status: 0 done; 1 it could not be done; 2 the command line or the configuration is wrong, and nothing was
    begun; 130 interrupted.
    """
