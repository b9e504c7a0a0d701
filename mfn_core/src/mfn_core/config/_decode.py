"""Strict decoding of TOML tables into attrs classes, on the type dispatch of cattrs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import evolve

from mfn_core.config._problems import ConfigError, Problem
from mfn_core.config._rejection import Rejected

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["decode"]

T = TypeVar("T")


def decode(cls: type[T], table: object, path: str, base_dir: Path) -> T:
    """Make `cls` of a table.

    A key that `cls` does not have, a missing one that it requires, a value of the wrong type and a failing validator
    are all reported, those of nested classes and of array items too. An integer stands for a number, and nothing
    else for anything else: no text is read as a number, and a boolean is no integer. Relative paths, defaults
    included, start at `base_dir`; `~` is the home directory. A `Secret` is a string, or a table `{file = "path"}`
    (readable by its owner alone) or `{env = "NAME"}`.

    Args:
        cls: an attrs class.
        table: what TOML gave.
        path: where the table stands, for messages: `transports.grpc`.
        base_dir: where relative paths start.

    Raises:
        ConfigError: with every problem.
    """
    from cattrs.errors import StructureHandlerNotFoundError

    try:
        return _converter(base_dir).structure(cast("Any", table), cls)
    except Rejected as rejected:
        raise ConfigError(
            evolve(problem, path=(path + problem.path).removeprefix(".")) for problem in rejected.problems
        ) from None
    except (StructureHandlerNotFoundError, NameError) as defect:
        # Types that TOML cannot hold, or annotations imported for type checking only.
        raise ConfigError(
            [
                Problem(
                    path=path,
                    message=f"the configuration class {cls.__module__}.{cls.__qualname__} cannot be decoded: {defect}",
                    remedy="report it to the author of the plugin",
                )
            ]
        ) from defect


@lru_cache(maxsize=8)
def _converter(base_dir: Path) -> Converter:
    from mfn_core.config._structure import make_converter

    return make_converter(base_dir)
