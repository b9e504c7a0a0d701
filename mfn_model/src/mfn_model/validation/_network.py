"""A small network in float32: a linear layer, attention over a single position, and three further layers.

Over a sequence of length one the softmax of attention is 1, so that attention is its value layer followed by its output
layer (A. Vaswani et al., NIPS 2017). Queries and keys have no effect and a gradient of zero; their weights are drawn,
since they take their place in the stream, and then left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfn_model.validation._streams import TwisterStream

__all__ = ["Network", "draw_network"]

Float32Array = npt.NDArray[np.float32]

_WIDTH = 32
_DRAWN = (
    # name, inputs, outputs, rectified; in the order of the draws
    ("input", 4, _WIDTH, False),
    ("query", _WIDTH, _WIDTH, None),
    ("key", _WIDTH, _WIDTH, None),
    ("value", _WIDTH, _WIDTH, False),
    ("output", _WIDTH, _WIDTH, False),
    ("first", _WIDTH, _WIDTH, True),
    ("second", _WIDTH, 16, True),
    ("third", 16, 1, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """y = x Wᵀ + b, then max(y, 0) where `rectified`; all four arrays are views of the network's vectors."""

    weights: Float32Array
    """[outputs, inputs]."""
    bias: Float32Array
    weights_gradient: Float32Array
    bias_gradient: Float32Array
    rectified: bool


class Network:
    """The network with all its parameters in one vector, and their gradient in another."""

    def __init__(self, layers: Sequence[tuple[Float32Array, Float32Array, bool]]) -> None:
        size = sum(weights.size + bias.size for weights, bias, _ in layers)
        self.parameters: Float32Array = np.empty(size, dtype=np.float32)
        """[all weights and biases]; training changes it in place."""
        self.gradient: Float32Array = np.zeros(size, dtype=np.float32)
        """d loss / d parameters, as `loss_and_gradient` leaves it."""
        self._layers: list[_Layer] = []
        start = 0
        for weights, bias, rectified in layers:
            middle, end = start + weights.size, start + weights.size + bias.size
            layer = _Layer(
                weights=self.parameters[start:middle].reshape(weights.shape),
                bias=self.parameters[middle:end],
                weights_gradient=self.gradient[start:middle].reshape(weights.shape),
                bias_gradient=self.gradient[middle:end],
                rectified=rectified,
            )
            layer.weights[...] = weights
            layer.bias[...] = bias
            self._layers.append(layer)
            start = end

    def predict(self, inputs: Float32Array) -> Float32Array:
        """[batch, 1] for inputs [batch, 4]."""
        return self._activations(inputs)[-1]

    def loss_and_gradient(self, inputs: Float32Array, targets: Float32Array) -> float:
        """The mean squared error over a batch, [batch, 4] and [batch, 1]; fills `gradient`."""
        activations = self._activations(inputs)
        differences = activations[-1] - targets
        loss = float(np.mean(differences * differences))
        backward: Float32Array = differences * np.float32(2.0 / len(inputs))
        for layer, before, after in zip(
            reversed(self._layers), reversed(activations[:-1]), reversed(activations[1:]), strict=True
        ):
            if layer.rectified:
                backward = backward * (after > 0.0)
            np.matmul(backward.T, before, out=layer.weights_gradient)
            np.add.reduce(backward, axis=0, out=layer.bias_gradient)
            backward = backward @ layer.weights
        return loss

    def _activations(self, inputs: Float32Array) -> list[Float32Array]:
        """The inputs, and what each layer makes of what the one before gave."""
        activations = [inputs]
        for layer in self._layers:
            values: Float32Array = activations[-1] @ layer.weights.T
            values += layer.bias
            if layer.rectified:
                np.maximum(values, np.float32(0.0), out=values)
            activations.append(values)
        return activations


def draw_network(stream: TwisterStream) -> Network:
    """Draws weights, then biases, of layer after layer from U(−1/√inputs, 1/√inputs)."""
    layers = []
    for _, inputs, outputs, rectified in _DRAWN:
        bound = 1.0 / math.sqrt(inputs)
        weights = stream.uniform(-bound, bound, (outputs, inputs))
        bias = stream.uniform(-bound, bound, (outputs,))
        if rectified is not None:
            layers.append((weights, bias, rectified))
    return Network(layers)
