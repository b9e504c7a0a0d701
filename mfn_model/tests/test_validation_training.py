"""Adam and the training loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model.validation._training import Adam, train

Float32Array = npt.NDArray[np.float32]


def test_adam_is_that_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    start = generator.normal(0.0, 1.0, 50)
    parameters = start.astype(np.float32)
    adam = Adam(50)
    expected, mean, square = start.copy(), np.zeros(50), np.zeros(50)
    for step in range(1, 30):
        gradient = generator.normal(0.5, 1.0, 50).astype(np.float32)
        adam.step(parameters, gradient)
        mean = 0.9 * mean + 0.1 * gradient.astype(np.float64)
        square = 0.999 * square + 0.001 * gradient.astype(np.float64) ** 2
        expected -= 1e-3 * (mean / (1.0 - 0.9**step)) / (np.sqrt(square / (1.0 - 0.999**step)) + 1e-8)
    assert parameters == pytest.approx(expected, abs=2e-6)


def test_the_first_step_of_adam_is_the_rate_against_the_sign() -> None:
    parameters = np.zeros(3, dtype=np.float32)
    Adam(3, rate=0.01).step(parameters, np.array([5.0, -1e-3, 0.0], dtype=np.float32))
    assert parameters.tolist() == pytest.approx([-0.01, 0.01, 0.0], rel=1e-4)


def linear_data(count: int) -> tuple[Float32Array, Float32Array]:
    inputs = np.random.default_rng(1).normal(0.0, 1.0, (count, 4)).astype(np.float32)
    return inputs, (inputs @ np.array([[0.5], [0.2], [-0.1], [0.0]], dtype=np.float32)).astype(np.float32)


def test_an_epoch_visits_every_row_once_the_last_batch_being_what_is_left() -> None:
    inputs, targets = linear_data(16)
    announced: list[int] = []
    train(inputs, targets, seed=0, epochs=3, batch_size=5, before_batch=announced.append)
    assert announced == list(range(3 * 4))


def test_a_batch_of_everything_does_not_depend_on_the_order() -> None:
    inputs, targets = linear_data(16)
    order = np.random.default_rng(0).permutation(16)
    plain = train(inputs, targets, seed=4, epochs=6, batch_size=16, before_batch=lambda number: None)
    mixed = train(inputs[order], targets[order], seed=4, epochs=6, batch_size=16, before_batch=lambda number: None)
    assert (mixed.first, mixed.last) == pytest.approx((plain.first, plain.last), rel=1e-4)


def test_what_is_linear_is_learned() -> None:
    inputs, targets = linear_data(64)
    losses = train(inputs, targets, seed=0, epochs=200, batch_size=8, before_batch=lambda number: None)
    assert losses.last < 1e-3 < losses.first
