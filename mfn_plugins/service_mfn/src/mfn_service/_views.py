"""What frames show of a simulation: which species, with which fields, and which cells count as active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from mfn_model import DimensionEstimate, FieldSpec, FieldState
from mfn_model.mycelium import ACTIVE_THRESHOLD
from mfn_proto.v1 import field_pb2 as pb
from mfn_service._limits import Breach
from mfn_service._measures import dimension, statistics
from mfn_service._messages import encoded_field, fractal_dimension, species_frame, statistics_message
from mfn_service._models import POTENTIAL

__all__ = ["FrameView", "view_breaches"]

_NO_THRESHOLD = DimensionEstimate(
    value=None,
    reason="the field is no potential, and frames.threshold does not say which cells are active",
    r_squared=None,
    scales=(),
)


@frozen(kw_only=True)
class FrameView:
    """What a call wants to see of a simulation."""

    request_id: str
    """The caller's own."""
    encoding: pb.FieldEncoding
    """How fields are carried; one that carries none means that they are not."""
    units: Mapping[str, str]
    """Of the species that the simulation has, by name, the field first."""
    shown: tuple[str, ...] = ()
    """Names of the species to describe; empty: the field."""
    threshold: float | None = None
    """Cells of the field above it are active; None: no cell is known to be."""

    @classmethod
    def of(cls, options: pb.FrameOptions, spec: FieldSpec, request_id: str) -> FrameView:
        """What validated options ask for of a simulation of `spec`."""
        units = {each.name: each.unit for each in spec.declaration.present(spec.parameters)}
        threshold = ACTIVE_THRESHOLD if next(iter(units.values())) == POTENTIAL else None
        return cls(
            request_id=request_id,
            encoding=options.field_encoding,
            units=units,
            shown=tuple(options.species),
            threshold=options.threshold if options.HasField("threshold") else threshold,
        )

    @property
    def field(self) -> str:
        """Name of the field's species."""
        return next(iter(self.units))

    @property
    def potential(self) -> bool:
        """Whether the field is a potential in volts."""
        return self.units[self.field] == POTENTIAL

    def frame(self, state: FieldState, *, is_final: bool, injections: int = 0) -> pb.Frame:
        """A snapshot. Called on compute threads.

        Args:
            state: the state to describe.
            is_final: whether it is the run's last frame.
            injections: growth events of the state that were injected, and are not counted.

        Raises:
            MfnError: FAILED_PRECONDITION, when a species that is described holds NaN or infinite values.
        """
        found = statistics(state)
        estimate, legacy = (_NO_THRESHOLD, 0.0) if self.threshold is None else dimension(state.field, self.threshold)
        unit = self.units[self.field]
        return pb.Frame(
            request_id=self.request_id,
            step=state.step,
            is_final=is_final,
            statistics=statistics_message(found) if self.potential else None,
            growth_events=state.growth_events - injections,
            dimension=fractal_dimension(estimate),
            fractal_dimension=legacy,
            field=None if self.shown else encoded_field(state.field, self.encoding, unit),
            species=[self._species(state, name) for name in self.shown]
            or [species_frame(found, unit, name=self.field)],
        )

    def _species(self, state: FieldState, name: str) -> pb.SpeciesFrame:
        values, further = (state.field, None) if name == self.field else (state.species[name], name)
        return species_frame(
            statistics(state, further),
            self.units[name],
            name=name,
            field=encoded_field(values, self.encoding, self.units[name]),
        )


def view_breaches(options: pb.FrameOptions, spec: FieldSpec, path: str) -> Iterator[Breach]:
    """What is wrong with the species that options name, each under its place in the list.

    Args:
        options: that keep the rules of their definition.
        spec: what is simulated.
        path: where the options stand in the request.
    """
    there = [each.name for each in spec.declaration.present(spec.parameters)]
    for place, name in enumerate(options.species):
        if name not in there:
            told = ascii(name if len(name) <= 40 else f"{name[:39]}…")
            yield Breach(
                field=f"{path}.species[{place}]",
                description=f"got {told}, and this simulation of {spec.model!r} has {', '.join(there)}; "
                "name one of these",
            )
        elif name in options.species[:place]:
            yield Breach(
                field=f"{path}.species[{place}]",
                description=f"got {name!r} a second time; name each species once",
            )
