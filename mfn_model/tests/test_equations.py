"""Equations as a person reads them."""

from __future__ import annotations

from mfn_model import BRUSSELATOR, GRAY_SCOTT, MYCELIUM, MYCELIUM_RD, Species
from mfn_model.equations import equation, initial_text, step_events


def test_an_update_is_written_with_its_diffusion_and_its_reaction_as_they_are_summed() -> None:
    potential, activator, inhibitor = MYCELIUM_RD.species
    assert equation(potential) == "v <- v + alpha * L(v)"
    assert equation(activator) == "a <- a + (d_activator * L(a) + r_activator * (a * (1 - a) - h))"
    assert equation(inhibitor) == "h <- h + (d_inhibitor * L(h) + r_inhibitor * (a - h))"


def test_a_species_with_a_reaction_alone_or_with_neither_has_no_laplacian() -> None:
    decaying = Species(name="wave", unit="1", description="decays", symbol="w", reaction="-0.1 * w")
    assert equation(decaying) == "w <- w + -0.1 * w"
    assert equation(Species(name="ground", unit="1", description="lies there")) == "ground stays"


def test_how_a_species_begins_is_one_phrase() -> None:
    assert [initial_text(species) for species in MYCELIUM.species] == ["N(-0.07, (0.005)²)", *["U(0.0, 0.1)"] * 2]
    assert [initial_text(species) for species in GRAY_SCOTT.species] == ["0", "N(1, (0.01)²)"]


def test_what_happens_beside_the_updates_is_one_line_each() -> None:
    assert step_events(MYCELIUM) == (
        "spike of potential with probability spike_probability: N(0.02, (0.005)²)",
        "where activator > turing_threshold: potential gains 0.005",
        "noise of potential: N(0, jitter_variance), with jitter",
    )
    assert step_events(GRAY_SCOTT) == (
        "in seeds squares of side seed_side at first substrate = 0.5, autocatalyst = 0.25",
    )
    assert step_events(BRUSSELATOR) == ()
