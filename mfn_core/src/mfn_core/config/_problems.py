"""What is wrong with a configuration: every problem at once, each with its place and its remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

from attrs import frozen

__all__ = ["ConfigError", "Problem", "join_path", "suggest"]

SHOWN = 20
"""Problems that the text of one error shows, so that it stays on one screen; `problems` has all of them."""

_LONGEST_WORD = 80
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong, as the operator reads it."""

    path: str
    """Where: a TOML path such as `transports.grpc.listen`, or the file that cannot be read."""
    message: str
    """The value and the bound, lower case, one line."""
    remedy: str = ""
    """What to do about it; empty where the message says it."""


class ConfigError(Exception):
    """A configuration that cannot be used. Its text is for a person; no trace is needed to understand it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Make an error of one or more problems.

        Raises:
            ValueError: there is no problem.
        """
        self.problems: tuple[Problem, ...] = tuple(problems)
        if not self.problems:
            raise ValueError("a configuration error needs at least one problem")
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = ["1 problem in the configuration:" if count == 1 else f"{count} problems in the configuration:"]
        for problem in self.problems[:SHOWN]:
            lines.append(f"  {problem.path}: {problem.message}" if problem.path else f"  {problem.message}")
            if problem.remedy:
                lines.append(f"    {problem.remedy}")
        if count > SHOWN:
            lines.append(f"  and {count - SHOWN} more; mend these first")
        return "\n".join(lines)


def join_path(path: str, key: str) -> str:
    """The TOML path of `key` in the table at `path`, quoted where TOML would quote it."""
    part = key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{path}.{part}" if path else part


def suggest(word: str, known: Iterable[str]) -> str:
    """A remedy for an unknown word: the known one that is near it, and all that are known; empty if none is.

    Nothing is near a word of more than 80 characters: to compare takes the longer, the longer it is.
    """
    choices = list(dict.fromkeys(known))
    if not choices:
        return ""
    listed = f"known: {', '.join(choices)}"
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6) if len(word) <= _LONGEST_WORD else []
    return f"did you mean {near[0]!r}? {listed}" if near else listed
