"""Sweeps by name: scenarios, whose numbers are fixed, and the ranges that samples are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfn.sweeps._design import SampleDesign, ScenarioDesign

__all__ = ["SAMPLES", "SCENARIOS"]

SCENARIOS: Mapping[str, tuple[str, ScenarioDesign]] = MappingProxyType(
    {
        "small": (
            "scientific_small",
            ScenarioDesign(grid_size=32, steps=50, samples=10, seeds_per_alpha=2, alphas=(0.15,)),
        ),
        "medium": (
            "features_medium",
            ScenarioDesign(grid_size=64, steps=100, samples=100, seeds_per_alpha=3, alphas=(0.10, 0.15, 0.20)),
        ),
        "large": (
            "features_large",
            ScenarioDesign(grid_size=128, steps=200, samples=500, seeds_per_alpha=5, alphas=(0.08, 0.12, 0.16, 0.20)),
        ),
        "benchmark": (
            "benchmark_small",
            ScenarioDesign(grid_size=32, steps=32, samples=5, seeds_per_alpha=1, alphas=(0.15,)),
        ),
    }
)
"""By the name of the preset: the name of the scenario and its design."""

SAMPLES: Mapping[str, SampleDesign] = MappingProxyType(
    {
        "minimal": SampleDesign(
            samples=10,
            grid_sizes=(32,),
            steps=(50, 100),
            alpha=(0.10, 0.20),
            spike_probability=(0.15, 0.35),
            turing_threshold=(0.65, 0.85),
        ),
        "default": SampleDesign(
            samples=200,
            grid_sizes=(32, 64),
            steps=(50, 200),
            alpha=(0.10, 0.20),
            spike_probability=(0.15, 0.35),
            turing_threshold=(0.65, 0.85),
        ),
        "extended": SampleDesign(
            samples=1000,
            grid_sizes=(32, 64, 128),
            steps=(50, 500),
            alpha=(0.05, 0.24),
            spike_probability=(0.05, 0.50),
            turing_threshold=(0.50, 0.95),
        ),
    }
)
"""By the name of the preset. `extended` covers nearly all that the model takes."""
