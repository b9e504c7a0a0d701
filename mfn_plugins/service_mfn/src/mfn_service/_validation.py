"""The validation training: `mfn.MFNValidationService.ValidatePattern` and `mycelium.MyceliumService.Validate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from mfn_core import Call, FieldViolation, Operation, Service, Shape
from mfn_core.execution import ComputePool
from mfn_model import MYCELIUM
from mfn_model.validation import SAMPLES, validation_in_pieces
from mfn_model.validation import ValidationResult as Trained
from mfn_proto.defaults import effective
from mfn_proto.mfn_pb2 import ValidationRequest, ValidationResult
from mfn_proto.mycelium_pb2 import ValidateRequest, ValidateResponse
from mfn_service._limits import Breach, WorkLimits, cell_steps, refuse, rule_breaches
from mfn_service._models import Own, Wanted, known_model
from mfn_service._reply_cache import cache_key, stamp
from mfn_service._specs import named_breaches
from mfn_service._training import fields_on_engine, in_slices, restoring
from mfn_service._w1 import response_meta

__all__ = ["BATCH_CELL_STEPS", "FIELDS", "VALIDATION", "validate_operation", "validation_service"]

VALIDATION = "mfn.MFNValidationService"

FIELDS = SAMPLES + 1
"""Runs of one training: those that it learns from, and an example."""
BATCH_CELL_STEPS = 10_000
"""What a mini-batch is charged for: about as long as it takes."""

_W2_STEPS, _W2_BATCH = 64, 4


@frozen(kw_only=True)
class _Training:
    """What a request asks for."""

    seed: int
    epochs: int
    batch_size: int
    grid_size: int
    steps: int
    wanted: Callable[[], Wanted]
    """What it asks of the model that it names; may raise `MfnError`."""
    named: bool
    """Whether it names a model or parameters; otherwise the fields are those of earlier results."""
    turing_enabled: bool
    jitter: bool
    told_steps: bool
    """Whether the request has a field for its steps."""

    @property
    def batches(self) -> int:
        return self.epochs * math.ceil(SAMPLES / min(self.batch_size, SAMPLES))

    @property
    def cost(self) -> float:
        return FIELDS * cell_steps(self.grid_size, self.steps) + self.batches * BATCH_CELL_STEPS


def validation_service(compute: ComputePool, limits: WorkLimits) -> Service:
    """The validation training of package `mfn`."""
    meta = response_meta()

    def reply(request: ValidationRequest, found: Trained) -> ValidationResult:
        return ValidationResult(
            request_id=request.request_id,
            meta=meta,
            loss_start=found.loss_start,
            loss_final=found.loss_final,
            loss_drop=found.loss_drop,
            pot_min_mV=found.pot_min_mv,
            pot_max_mV=found.pot_max_mv,
            example_fractal_dim=found.example_dimension,
            lyapunov_exponent=found.lyapunov_exponent,
            growth_events=found.growth_events,
            nernst_symbolic_mV=found.nernst_symbolic_mv,
            nernst_numeric_mV=found.nernst_numeric_mv,
        )

    operation = _operation(
        VALIDATION,
        "ValidatePattern",
        (ValidationRequest, ValidationResult),
        _asked_in_w1,
        reply,
        compute,
        limits,
        cache_key=cache_key(ValidationRequest),
        stamp=stamp(ValidationRequest),
    )
    return Service(name=VALIDATION, operations=(operation,))


def validate_operation(service: str, compute: ComputePool, limits: WorkLimits) -> Operation:
    """The validation training of package `mycelium`, in the service of this name."""

    def reply(request: ValidateRequest, found: Trained) -> ValidateResponse:
        return ValidateResponse(
            loss_start=found.loss_start,
            loss_final=found.loss_final,
            loss_drop=found.loss_drop,
            pot_min_mV=found.pot_min_mv,
            pot_max_mV=found.pot_max_mv,
            lyapunov_exponent=found.lyapunov_exponent,
            nernst_symbolic_mV=found.nernst_symbolic_mv,
        )

    # A request carries no id: its bytes are what the reply depends on.
    return _operation(
        service,
        "Validate",
        (ValidateRequest, ValidateResponse),
        _asked_in_w2,
        reply,
        compute,
        limits,
        cache_key=lambda raw: raw,
        stamp=None,
    )


def _asked_in_w1(request: ValidationRequest) -> _Training:
    grid_size, steps = int(effective(request, "grid_size")), int(effective(request, "steps"))
    own = {
        "turing_enabled": Own(path="turing_enabled", value=request.turing_enabled, sent=bool(request.turing_enabled)),
        "jitter": Own(path="quantum_jitter", value=request.quantum_jitter, sent=bool(request.quantum_jitter)),
    }
    return _Training(
        seed=int(effective(request, "seed")),
        epochs=int(effective(request, "epochs")),
        batch_size=int(effective(request, "batch_size")),
        grid_size=grid_size,
        steps=steps,
        wanted=_wanted(request, grid_size, own),
        named=bool(request.model or request.parameters),
        turing_enabled=bool(request.turing_enabled),
        jitter=bool(request.quantum_jitter),
        told_steps=True,
    )


def _asked_in_w2(request: ValidateRequest) -> _Training:
    grid_size = int(effective(request, "grid_size"))
    own = {"turing_enabled": Own(path="parameters", value=True, sent=False)}
    return _Training(
        seed=int(effective(request, "seed")),
        epochs=int(effective(request, "epochs")),
        batch_size=_W2_BATCH,
        grid_size=grid_size,
        steps=_W2_STEPS,
        wanted=_wanted(request, grid_size, own),
        named=bool(request.model or request.parameters),
        turing_enabled=True,
        jitter=False,
        told_steps=False,
    )


def _wanted(request: ValidationRequest | ValidateRequest, grid_size: int, own: dict[str, Own]) -> Callable[[], Wanted]:
    return lambda: Wanted(
        model=known_model(request.model or MYCELIUM.name), grid_size=grid_size, own=own, named=request.parameters
    )


def _operation(
    service: str,
    method: str,
    types: tuple[type[Any], type[Any]],
    asked: Callable[[Any], _Training],
    reply: Callable[[Any, Trained], Any],
    compute: ComputePool,
    limits: WorkLimits,
    *,
    cache_key: Callable[[bytes], bytes | None],
    stamp: Callable[[bytes, bytes], bytes] | None,
) -> Operation:
    def validate(request: Any) -> Sequence[FieldViolation]:
        """Bounds of the definition and of the model, and limits of the server, together."""
        training = asked(request)
        found = _within(limits, rule_breaches(request), training)
        if training.named:
            found = named_breaches(found, training.wanted, potential=True)
            if not found:
                restoring(compute, training.wanted().spec())  # so that what cannot run is not charged
        return refuse(found)

    async def handler(request: Any, call: Call) -> Any:
        return reply(request, await _trained(compute, call, asked(request)))

    return Operation(
        service=service,
        method=method,
        shape=Shape.UNARY,
        request_type=types[0],
        response_type=types[1],
        handler=handler,
        idempotent=True,
        deterministic=True,
        validate=validate,
        cost=lambda request: asked(request).cost,
        cache_key=cache_key,
        stamp=stamp,
    )


def _within(limits: WorkLimits, found: list[Breach], training: _Training) -> list[Breach]:
    """`found` and what the server's limits add to it."""
    named = {each.field for each in found}
    if "epochs" not in named and training.epochs > limits.max_steps:
        found.append(limits.too_many("epochs", training.epochs, "epochs"))
    if training.told_steps:
        return limits.run(
            found,
            grid_path="grid_size",
            grid_size=training.grid_size,
            steps_path="steps",
            steps=training.steps,
            runs=FIELDS,
        )
    if "grid_size" in named:
        return found
    if refused := list(limits.grid("grid_size", training.grid_size)):
        return [*found, *refused]
    cells = FIELDS * training.grid_size**2
    if training.steps > limits.max_steps:
        found.append(
            Breach(
                field="",
                description=f"got a training, whose runs have {training.steps} steps, and this server takes at most "
                f"{limits.max_steps} (server.max_steps); take mfn.MFNValidationService, whose steps are free",
                limit="max_steps",
            )
        )
    elif cells * training.steps > limits.max_cell_steps:
        found.append(
            Breach(
                field="grid_size",
                description=f"got {training.grid_size}, which in {FIELDS} runs of {training.steps} steps is "
                f"{cells * training.steps} cell-steps, and this server takes at most {limits.max_cell_steps} "
                "(server.max_cell_steps); ask for a smaller grid",
                limit="max_cell_steps",
            )
        )
    return found


async def _trained(compute: ComputePool, call: Call, training: _Training) -> Trained:
    """Do a training in slices.

    Raises:
        MfnError: what `ComputePool.run` raises.
    """
    simulate = None
    if training.named:
        spec = training.wanted().spec()
        simulate = fields_on_engine(restoring(compute, spec), spec, training.steps, call.cancel)
    pieces = validation_in_pieces(
        seed=training.seed,
        epochs=training.epochs,
        batch_size=training.batch_size,
        grid_size=training.grid_size,
        steps=training.steps,
        turing_enabled=training.turing_enabled,
        jitter=training.jitter,
        simulate=simulate,
    )

    return await in_slices(compute, call, pieces)
