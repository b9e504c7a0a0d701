"""Training by Adam over shuffled batches, in float32, from streams of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model.validation._cancellation import completed
from mfn_model.validation._network import Network, draw_network
from mfn_model.validation._streams import TwisterStream, permutation

__all__ = ["Adam", "Losses", "train", "trained_in_pieces"]

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean squared errors of two batches, each before the step that it led to."""

    first: float
    last: float


class Adam:
    """D. P. Kingma, J. Ba, ICLR 2015, with β = (0.9, 0.999) and ε = 1e-8 beside the corrected root."""

    def __init__(self, size: int, rate: float = 1e-3) -> None:
        self._rate = rate
        self._mean: Float32Array = np.zeros(size, dtype=np.float32)
        self._square: Float32Array = np.zeros(size, dtype=np.float32)
        self._steps = 0

    def step(self, parameters: Float32Array, gradient: Float32Array) -> None:
        """Moves `parameters` in place."""
        self._steps += 1
        self._mean += (gradient - self._mean) * np.float32(1.0 - 0.9)
        self._square *= np.float32(0.999)
        self._square += (gradient * gradient) * np.float32(1.0 - 0.999)
        root = np.sqrt(self._square)
        root /= np.float32(math.sqrt(1.0 - 0.999**self._steps))
        root += np.float32(1e-8)
        parameters -= self._mean / root * np.float32(self._rate / (1.0 - 0.9**self._steps))


def train(
    inputs: Float32Array,
    targets: Float32Array,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    before_batch: Callable[[int], None],
) -> Losses:
    """Trains a fresh network on inputs [n, 4] and targets [n, 1], the last batch of an epoch being what is left.

    From the stream of `seed` come the network's weights, then for each epoch an integer that is not used and the seed
    of its permutation. `before_batch` is called with the number of batches done and may raise.
    """
    return completed(trained_in_pieces(inputs, targets, seed=seed, epochs=epochs, batch_size=batch_size), before_batch)


def trained_in_pieces(
    inputs: Float32Array, targets: Float32Array, *, seed: int, epochs: int, batch_size: int
) -> Generator[int, None, Losses]:
    """The same as a computation that yields the number of batches done before each."""
    stream = TwisterStream(seed)
    network = draw_network(stream)
    adam = Adam(network.parameters.size)
    losses: list[float] = []
    batches = 0
    for _ in range(epochs):
        stream.integer()
        order = permutation(stream.integer(), len(inputs))
        for start in range(0, len(order), batch_size):
            yield batches
            batch = order[start : start + batch_size]
            losses[1:] = [_trained(network, adam, inputs[batch], targets[batch])]
            batches += 1
    return Losses(first=losses[0], last=losses[-1])


def _trained(network: Network, adam: Adam, inputs: Float32Array, targets: Float32Array) -> float:
    loss = network.loss_and_gradient(inputs, targets)
    adam.step(network.parameters, network.gradient)
    return loss
