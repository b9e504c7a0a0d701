"""Invalid arguments: the rules of the definition files and the limits of this server, named in one error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen
from google.protobuf.message import Message

from mfn_core import Code, FieldViolation, MfnError
from mfn_core.config import ServerSettings
from mfn_proto.validation import violations

__all__ = ["Breach", "WorkLimits", "cell_steps", "invalid", "refuse", "rule_breaches"]


@frozen(kw_only=True)
class Breach:
    """One field that breaks a bound, and the server's limit that it breaks, if it is one."""

    field: str
    """Path of the field in the request."""
    description: str
    """Value, bound and remedy, in one line."""
    limit: str | None = None
    """Name of the setting in `[server]`; None for a bound of the definition file."""

    def violation(self) -> FieldViolation:
        """The same as the kernel has it."""
        return FieldViolation(field=self.field, description=self.description)


def invalid(field_path: str, description: str) -> MfnError:
    """INVALID_ARGUMENT for one field."""
    return MfnError.invalid([FieldViolation(field=field_path, description=description)])


def rule_breaches(message: Message) -> list[Breach]:
    """What breaks the rules that stand in the definition file."""
    return [Breach(field=each.field, description=each.message) for each in violations(message)]


def refuse(found: Sequence[Breach]) -> Sequence[FieldViolation]:
    """The violations, for an operation's `validate`.

    Raises:
        MfnError: INVALID_ARGUMENT with all of them, when limits of the server are among them: its details name
            those under `limit`.
    """
    named = [each.violation() for each in found]
    limits = sorted({each.limit for each in found if each.limit is not None})
    if limits:
        error = MfnError.invalid(named)
        raise MfnError(Code.INVALID_ARGUMENT, error.message, violations=named, details={"limit": ",".join(limits)})
    return named


@frozen(kw_only=True)
class WorkLimits:
    """What one call may ask of this server."""

    min_grid: int
    max_grid: int
    max_steps: int
    max_cell_steps: int

    @classmethod
    def of(cls, server: ServerSettings) -> WorkLimits:
        """The limits of the `[server]` table."""
        return cls(
            min_grid=server.min_grid,
            max_grid=server.max_grid,
            max_steps=server.max_steps,
            max_cell_steps=server.max_cell_steps,
        )

    def grid(self, path: str, grid_size: int) -> Iterable[Breach]:
        """What keeps a grid of `grid_size` cells along each side from being simulated."""
        if grid_size < self.min_grid:
            yield Breach(
                field=path,
                description=f"got {grid_size}, this server takes at least {self.min_grid} (server.min_grid); "
                "ask for a larger grid",
                limit="min_grid",
            )
        elif grid_size > self.max_grid:
            yield self.too_large(path, grid_size)

    def too_large(self, path: str, grid_size: int) -> Breach:
        """The breach of a grid that exceeds `max_grid`."""
        return Breach(
            field=path,
            description=f"got {grid_size}, this server takes at most {self.max_grid} (server.max_grid); "
            "ask for a smaller grid",
            limit="max_grid",
        )

    def work(self, path: str, grid_size: int | None, steps: int, runs: int = 1) -> Iterable[Breach]:
        """What keeps so many runs of `steps` steps on that grid, or on any where it is None, out of one call."""
        cells = 0 if grid_size is None else grid_size * grid_size * runs
        if steps > self.max_steps:
            yield self.too_many(path, steps, "steps")
        elif cells * steps > self.max_cell_steps:
            runs_told = f" in {runs} runs" if runs > 1 else ""
            yield Breach(
                field=path,
                description=f"got {steps}, which on {grid_size} x {grid_size} cells{runs_told} is {cells * steps} "
                f"cell-steps, and this server takes at most {self.max_cell_steps} (server.max_cell_steps); "
                f"ask for at most {self.max_cell_steps // cells} steps, or for a smaller grid",
                limit="max_cell_steps",
            )

    def too_many(self, path: str, number: int, what: str) -> Breach:
        """The breach of a number that exceeds `max_steps`."""
        return Breach(
            field=path,
            description=f"got {number}, this server takes at most {self.max_steps} (server.max_steps); "
            f"ask for fewer {what}",
            limit="max_steps",
        )

    def run(
        self, found: list[Breach], *, grid_path: str, grid_size: int, steps_path: str, steps: int, runs: int = 1
    ) -> list[Breach]:
        """`found` and what the server's limits add to it; a field that is at fault already is not named twice."""
        named = {each.field for each in found}
        refused = [] if grid_path in named else list(self.grid(grid_path, grid_size))
        found.extend(refused)
        if steps_path not in named:
            judged = None if refused or grid_path in named else grid_size
            found.extend(self.work(steps_path, judged, steps, runs))
        return found


def cell_steps(grid_size: int, steps: int) -> float:
    """What a run costs: cells times steps, the initial field counting as one step where there is no other."""
    return float(grid_size * grid_size * max(steps, 1))
