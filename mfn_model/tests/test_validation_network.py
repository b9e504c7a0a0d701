"""The network and its gradient against finite differences of an evaluation in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mfn_model.validation._network import Network, draw_network
from mfn_model.validation._streams import TwisterStream

Vector = npt.NDArray[np.float64]

SHAPES = [(32, 4), (32, 32), (32, 32), (32, 32), (16, 32), (1, 16)]  # input, value, output, first, second, third


def loss_in_float64(parameters: Vector, inputs: Vector, targets: Vector) -> float:
    values, place = inputs, 0
    for number, (outputs, fan_in) in enumerate(SHAPES):
        weights = parameters[place : place + outputs * fan_in].reshape(outputs, fan_in)
        place += outputs * fan_in
        values = values @ weights.T + parameters[place : place + outputs]
        place += outputs
        if number in (3, 4):
            values = np.where(values > 0.0, values, 0.0)
    assert place == len(parameters)
    return float(np.mean((values - targets) ** 2))


def example(seed: int) -> tuple[Network, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(0.0, 3.0, (5, 4)).astype(np.float32)
    targets = generator.normal(0.0, 1.0, (5, 1)).astype(np.float32)
    return draw_network(TwisterStream(seed)), inputs, targets


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    network, inputs, targets = example(seed)
    loss = network.loss_and_gradient(inputs, targets)
    parameters, wide_inputs, wide_targets = (
        values.astype(np.float64) for values in (network.parameters, inputs, targets)
    )
    assert loss == pytest.approx(loss_in_float64(parameters, wide_inputs, wide_targets), rel=1e-5)
    for place in np.random.default_rng(seed).choice(len(parameters), size=300, replace=False):
        sides = []
        for step in (1e-6, -1e-6):
            moved = parameters.copy()
            moved[place] += step
            sides.append(loss_in_float64(moved, wide_inputs, wide_targets))
        assert network.gradient[place] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=2e-5)


def test_queries_and_keys_are_drawn_and_left_out() -> None:
    stream, plain = TwisterStream(3), TwisterStream(3)
    network = draw_network(stream)
    assert network.parameters.size == sum(outputs * fan_in + outputs for outputs, fan_in in SHAPES)
    plain.uniform(0.0, 1.0, (32 * 4 + 32,))
    plain.uniform(0.0, 1.0, (2 * (32 * 32 + 32),))  # queries and keys
    bound = 32**-0.5
    value_weights = plain.uniform(-bound, bound, (32 * 32,))
    assert network.parameters[32 * 5 : 32 * 5 + 32 * 32].tolist() == value_weights.tolist()
    total = sum((outputs * fan_in + outputs) for outputs, fan_in in [*SHAPES, (32, 32), (32, 32)])
    all_words = TwisterStream(3).words(total + 1)
    assert stream.words(1)[0] == all_words[-1]


def test_predictions_are_those_that_the_loss_is_of() -> None:
    network, inputs, targets = example(7)
    errors = network.predict(inputs) - targets
    assert network.loss_and_gradient(inputs, targets) == pytest.approx(float(np.mean(errors**2)), rel=1e-6)


def test_everything_stays_in_float32() -> None:
    network, inputs, targets = example(0)
    network.loss_and_gradient(inputs, targets)
    assert network.predict(inputs).dtype == network.parameters.dtype == network.gradient.dtype == np.float32
