"""Train a small network on simulated fields and print its metrics, or ask what a field tells of its parameters."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from mfn.commands._refusal import refusing

if TYPE_CHECKING:
    from mfn_model.validation import RecoveryReport, ValidationResult

__all__ = ["validate"]

Value = float | int | str | list[float]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of everything random.")
@click.option("--epochs", type=int, default=1, show_default=True, help="Passes over the sixteen fields.")
@click.option("--batch-size", type=int, default=4, show_default=True, help="Fields in one step of training.")
@click.option("--grid-size", "--grid", type=int, default=64, show_default=True, help="Cells along each side.")
@click.option("--steps", type=int, default=64, show_default=True, help="Steps of each field.")
@click.option(
    "--turing-enabled/--no-turing", default=True, show_default=True, help="Whether activator and inhibitor react."
)
@click.option("--quantum-jitter", is_flag=True, help="Add noise to every cell at every step.")
@click.option(
    "--recover",
    type=click.Choice(["alpha", "spike_probability"]),
    help="Instead, how well this parameter is predicted from fields that were held out.",
)
@click.option("--samples", type=int, default=100, show_default=True, help="Fields of --recover.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def validate(
    seed: int,
    epochs: int,
    batch_size: int,
    grid_size: int,
    steps: int,
    turing_enabled: bool,
    quantum_jitter: bool,
    recover: str | None,
    samples: int,
    as_json: bool,
) -> None:
    """Train a small network on simulated fields and print its metrics: the numbers of earlier results.

    Its target is a linear function of its inputs and nothing is held out: it shows that the parts work together, and no
    more. With --recover, a regression predicts a parameter from fields that it has not seen, and its error stands
    beside that of always guessing the mean. Exit status 0, whatever the numbers are; 2 where a value is refused.
    """
    with refusing():
        from mfn_model.validation import cross_validate_recovery, run_validation

        if recover is not None:
            report = cross_validate_recovery(
                "alpha" if recover == "alpha" else "spike_probability",
                seed=seed,
                samples=samples,
                grid_size=grid_size,
                steps=steps,
            )
            metrics = _recovered(report)
        else:
            metrics = _validated(
                run_validation(
                    seed=seed,
                    epochs=epochs,
                    batch_size=batch_size,
                    grid_size=grid_size,
                    steps=steps,
                    turing_enabled=turing_enabled,
                    jitter=quantum_jitter,
                )
            )
    if as_json:
        click.echo(json.dumps(metrics, ensure_ascii=False))
        return
    _print(metrics)


def _validated(result: ValidationResult) -> dict[str, Value]:
    """By the names of earlier results, which those who read them by program know."""
    return {
        "loss_start": result.loss_start,
        "loss_final": result.loss_final,
        "loss_drop": result.loss_drop,
        "pot_min_mV": result.pot_min_mv,
        "pot_max_mV": result.pot_max_mv,
        "example_fractal_dim": result.example_dimension,
        "lyapunov_exponent": result.lyapunov_exponent,
        "lyapunov_mean": result.lyapunov_mean,
        "growth_events": result.growth_events,
        "nernst_symbolic_mV": result.nernst_symbolic_mv,
        "nernst_numeric_mV": result.nernst_numeric_mv,
        "nernst_rtfz_mV": result.nernst_rtfz_mv,
    }


def _recovered(report: RecoveryReport) -> dict[str, Value]:
    return {
        "parameter": report.parameter,
        "samples": report.samples,
        "folds": report.folds,
        "train_error": report.train_error,
        "test_error": report.test_error,
        "baseline_error": report.baseline_error,
        "explained": report.explained,
        "fold_errors": list(report.fold_errors),
    }


def _print(metrics: dict[str, Value]) -> None:
    """A table on a terminal; `name : value` lines anywhere else."""
    rows = [(name, _shown(value)) for name, value in metrics.items()]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    width = max(map(len, metrics))
    for name, value in rows:
        click.echo(f"{name.ljust(width)} : {value}")


def _shown(value: Value) -> str:
    if isinstance(value, list):
        return ", ".join(format(each, ".4g") for each in value)
    return format(value, ".6f") if isinstance(value, float) else str(value)
