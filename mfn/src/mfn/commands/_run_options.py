"""The options that say which run a picture shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from attrs import frozen

__all__ = ["RunOptions", "assigned", "run_options"]

F = TypeVar("F", bound=Callable[..., Any])


@frozen(kw_only=True)
class RunOptions:
    """A run, as the command line says it."""

    seed: int
    grid_size: int
    steps: int
    model: str
    boundary: str
    engine: str
    assignments: tuple[str, ...]

    def parameters(self) -> dict[str, Any]:
        """Parameters by name; raises `ValueError` for what is not NAME=VALUE."""
        from mfn.sweeps import parameter_values

        found: dict[str, Any] = {}
        for text in self.assignments:
            name, value = assigned(text)
            if name in found:
                raise ValueError(f"--set {name}=… is given twice; leave one out")
            values = parameter_values(name, value)
            if len(values) > 1:
                raise ValueError(f"--set {text!r} has {len(values)} values; a picture shows one run")
            found[name] = values[0]
        return found


def assigned(text: str) -> tuple[str, str]:
    """The name and the value of NAME=VALUE; raises `ValueError` for what is none, and for an option of its own."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ValueError(f"--set {text!r} is not NAME=VALUE, such as alpha=0.1 or jitter=on")
    if name == "boundary":
        raise ValueError(f"the boundary is no parameter; say --boundary {value}")
    return name, value


def run_options(command: F) -> F:
    """Add `--seed`, `--grid`, `--steps`, `--set`, `--model`, `--boundary` and `--engine`, as the argument `run`."""

    def collected(
        *args: Any,
        seed: int,
        grid_size: int,
        steps: int,
        model: str,
        boundary: str,
        engine: str,
        assignments: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        run = RunOptions(
            seed=seed,
            grid_size=grid_size,
            steps=steps,
            model=model,
            boundary=boundary,
            engine=engine,
            assignments=assignments,
        )
        return command(*args, run=run, **kwargs)

    collected.__doc__ = command.__doc__
    collected.__name__ = command.__name__
    for option in (
        click.option("--engine", default="auto", show_default=True, help="Compute engine; auto takes the fastest."),
        click.option("--boundary", default="", help="Of the grid; the model's own unless given."),
        click.option("--model", default="mycelium", show_default=True, help="Field model."),
        click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A parameter of the model."),
        click.option("--steps", type=int, default=64, show_default=True, help="Steps to simulate."),
        click.option("--grid", "grid_size", type=int, default=64, show_default=True, help="Cells along each side."),
        click.option("--seed", type=int, default=42, show_default=True, help="Seed of everything random."),
    ):
        collected = option(collected)
    # The wrapper takes what click gives it, and nothing of its own.
    return collected  # type: ignore[return-value]
