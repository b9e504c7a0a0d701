"""Spike-timing-dependent plasticity: how the timing of two neurons' spikes changes the weight between them.

A presynaptic spike that comes Δt before a postsynaptic one strengthens by A₊ exp(−Δt/τ₊); one that comes after it
weakens by A₋ exp(Δt/τ₋), Δt < 0 then; spikes at the same time change nothing (S. Song, K. Miller, L. Abbott, Nat.
Neurosci. 3 (2000) 919–926). Times are in s, weight changes have the unit of A.

`stdp_weight_change` takes one spike of each neuron, as earlier results did; `stdp_all_pairs` sums over all pairs of
whole spike trains; `advance_traces` gives the same sum online, from one number for each neuron instead of its spikes
(A. Morrison, M. Diesmann, W. Gerstner, Biol. Cybern. 98 (2008) 459–478). `apply_weight_change` keeps weights in bounds.

>>> stdp_weight_change([[0.01, 0.02]], [[0.015]]).round(6).tolist()
[[0.007788], [-0.009346]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import number_problems, refuse

__all__ = [
    "SpikeTraces",
    "StdpParameters",
    "advance_traces",
    "apply_weight_change",
    "stdp_all_pairs",
    "stdp_weight_change",
    "stdp_window",
]

FloatArray = npt.NDArray[np.float64]

EXPONENT_LIMIT: Final = 50.0
"""|Δt|/τ counts as at most this, as in earlier results; e⁻⁵⁰ is 2e-22."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StdpParameters:
    """Both halves of the window; raises `ValueError` that lists everything out of its bound."""

    tau_plus: float = 0.020
    """τ₊, 0.005 … 0.100 s."""
    tau_minus: float = 0.020
    """τ₋, 0.005 … 0.100 s."""
    a_plus: float = 0.01
    """A₊, 0.001 … 0.100."""
    a_minus: float = 0.012
    """A₋, 0.001 … 0.100."""

    def __post_init__(self) -> None:
        problems = []
        for name in ("tau_plus", "tau_minus"):
            problems += number_problems(name, getattr(self, name), 0.005, 0.100, unit="s")
        for name in ("a_plus", "a_minus"):
            problems += number_problems(name, getattr(self, name), 0.001, 0.100)
        refuse(problems)


def stdp_window(delta_t: npt.ArrayLike, parameters: StdpParameters | None = None) -> FloatArray:
    """The weight change for Δt = t_post − t_pre, in s, of any shape; float64 of that shape, NaN for NaN."""
    p = parameters or StdpParameters()
    delta = np.asarray(delta_t, dtype=np.float64)
    potentiation = p.a_plus * np.exp(-np.minimum(np.abs(delta) / p.tau_plus, EXPONENT_LIMIT))
    depression = -p.a_minus * np.exp(-np.minimum(np.abs(delta) / p.tau_minus, EXPONENT_LIMIT))
    one_sided = np.where(delta > 0.0, potentiation, np.where(delta < 0.0, depression, 0.0))
    return np.asarray(np.where(np.isnan(delta), np.nan, one_sided))


def stdp_weight_change(pre: npt.ArrayLike, post: npt.ArrayLike, parameters: StdpParameters | None = None) -> FloatArray:
    """The weight changes of one spike for each neuron, averaged over a batch.

    `pre` is [batch, n_pre] and `post` [batch, n_post], spike times in s, finite; a vector is a batch of one. The result
    is [n_pre, n_post] float64; earlier results are it in single precision. Raises `ValueError` for other shapes, no
    batch, batches of different length and times that are not finite.
    """
    before, after = _times("pre", pre), _times("post", post)
    if len(before) != len(after) or len(before) == 0:
        raise ValueError(f"pre and post must be batches of one length, at least 1, got {len(before)} and {len(after)}")
    total = np.zeros((before.shape[1], after.shape[1]))
    for earlier, later in zip(before, after, strict=True):
        total += stdp_window(later[np.newaxis, :] - earlier[:, np.newaxis], parameters)
    return np.asarray(total / len(before))


def stdp_all_pairs(
    pre: Sequence[npt.ArrayLike], post: Sequence[npt.ArrayLike], parameters: StdpParameters | None = None
) -> FloatArray:
    """The weight changes summed over all pairs of spikes: [n_pre, n_post] float64.

    `pre` and `post` hold one train of spike times in s, finite and in any order, for each neuron. Cost is in proportion
    to the pairs of spikes, where `advance_traces` costs the same for each moment however many spikes came before.
    Raises `ValueError` for a train that is not a vector of finite times.
    """
    before = [_train(f"pre[{index}]", each) for index, each in enumerate(pre)]
    after = [_train(f"post[{index}]", each) for index, each in enumerate(post)]
    total = np.zeros((len(before), len(after)))
    for i, earlier in enumerate(before):
        for j, later in enumerate(after):
            total[i, j] = stdp_window(later[np.newaxis, :] - earlier[:, np.newaxis], parameters).sum()
    return total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpikeTraces:
    """What each neuron remembers of its spikes: Σ exp(−(t − t_spike)/τ), with τ₊ for `pre` and τ₋ for `post`."""

    pre: FloatArray
    """[n_pre] float64, read-only."""
    post: FloatArray
    """[n_post] float64, read-only."""

    @classmethod
    def at_rest(cls, pre: int, post: int) -> SpikeTraces:
        """The traces of this many neurons that have not spiked."""
        if pre < 0 or post < 0:
            raise ValueError(f"the numbers of neurons must be at least 0, got {pre} and {post}")
        return cls(pre=_sealed(np.zeros(pre)), post=_sealed(np.zeros(post)))


def advance_traces(
    traces: SpikeTraces,
    pre_spikes: npt.ArrayLike,
    post_spikes: npt.ArrayLike,
    elapsed: float,
    parameters: StdpParameters | None = None,
) -> tuple[SpikeTraces, FloatArray]:
    """Lets `elapsed` ≥ 0 s pass and then the given neurons spike: the traces after that, and the weight change of it.

    `pre_spikes` is [n_pre] and `post_spikes` [n_post] bool: who spikes at that moment. All spikes of one moment belong
    in one call: two calls with nothing between them count as in this order, not as simultaneous. The changes of all
    calls add up to `stdp_all_pairs` of the same spikes, but for pairs further apart than 50 τ, which count as 50 τ
    there and decay on here. Raises `ValueError` for other shapes, an `elapsed` that is negative or not finite.
    """
    p = parameters or StdpParameters()
    refuse(number_problems("elapsed", elapsed, 0.0, unit="s"))
    pre_now = _spiking("pre_spikes", pre_spikes, len(traces.pre))
    post_now = _spiking("post_spikes", post_spikes, len(traces.post))
    pre = traces.pre * math.exp(-elapsed / p.tau_plus)
    post = traces.post * math.exp(-elapsed / p.tau_minus)
    # A spike meets the traces that earlier spikes left, its own moment excluded.
    change = p.a_plus * np.outer(pre, post_now) - p.a_minus * np.outer(pre_now, post)
    return SpikeTraces(pre=_sealed(pre + pre_now), post=_sealed(post + post_now)), change


def apply_weight_change(
    weights: npt.ArrayLike,
    change: npt.ArrayLike,
    *,
    minimum: float = 0.0,
    maximum: float = 1.0,
    bounds: Literal["hard", "soft"] = "hard",
    exponent: float = 1.0,
) -> FloatArray:
    """Weights after a change, kept within [minimum, maximum]; float64 of the shape of `weights`.

    Hard bounds clip the sum. Soft ones first scale an increase by ((maximum − w)/range)^μ and a decrease by
    ((w − minimum)/range)^μ, so that a weight slows down as it nears a bound (R. Gütig, R. Aharonov, S. Rotter, H.
    Sompolinsky, J. Neurosci. 23 (2003) 3697–3714); `exponent` is μ, 0 … 1, of which 0 is the hard rule and 1 the
    multiplicative one. What would still overshoot is clipped.

    Raises `ValueError` for bounds that are not finite or in this order, weights out of them, a change that is not
    finite or has another shape, and an unknown rule.
    """
    problems = number_problems("minimum", minimum) + number_problems("maximum", maximum)
    if not problems and minimum >= maximum:
        problems.append(f"minimum must be below maximum, got {minimum!r} and {maximum!r}")
    if bounds not in ("hard", "soft"):
        problems.append(f"bounds must be 'hard' or 'soft', got {bounds!r}")
    problems += number_problems("exponent", exponent, 0.0, 1.0)
    refuse(problems)
    w, delta = np.asarray(weights, dtype=np.float64), np.asarray(change, dtype=np.float64)
    if w.shape != delta.shape:
        raise ValueError(f"change must have the shape of the weights, {w.shape}, got {delta.shape}")
    if not np.isfinite(delta).all():
        raise ValueError("change must be finite everywhere")
    outside = w[~((w >= minimum) & (w <= maximum))]
    if outside.size:
        raise ValueError(f"weights must be from {minimum:g} to {maximum:g}, got {float(outside.flat[0])!r}")
    if bounds == "soft":
        room = np.where(delta > 0.0, maximum - w, w - minimum) / (maximum - minimum)
        delta = delta * room**exponent
    return np.asarray(np.clip(w + delta, minimum, maximum))


def _times(name: str, values: npt.ArrayLike) -> FloatArray:
    times = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if times.ndim != 2:
        raise ValueError(f"{name} must have shape [batch, neurons], got {times.shape}")
    if not np.isfinite(times).all():
        raise ValueError(f"{name} must be finite spike times in s")
    return times


def _train(name: str, values: npt.ArrayLike) -> FloatArray:
    times = np.asarray(values, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ValueError(f"{name} must be a vector of finite spike times in s, got shape {times.shape}")
    return times


def _spiking(name: str, values: npt.ArrayLike, neurons: int) -> npt.NDArray[np.bool_]:
    spikes = np.asarray(values)
    if spikes.dtype != np.bool_ or spikes.shape != (neurons,):
        raise ValueError(f"{name} must be {neurons} truth values, got {spikes.dtype} of shape {spikes.shape}")
    return spikes


def _sealed(array: FloatArray) -> FloatArray:
    array.flags.writeable = False
    return array
