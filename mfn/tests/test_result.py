"""The result of a simulation: what it says, how it is shown, and how it is saved."""

from __future__ import annotations

import json
import math
import pickle
import re
import stat
from io import StringIO
from pathlib import Path

import attrs
import numpy as np
import pytest
from rich.console import Console

import mfn
from mfn.measurement import features
from mfn_model import FieldSpec, FieldState


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(scope="module")
def result() -> mfn.SimulationResult:
    return mfn.simulate(seed=7, grid_size=16, steps=10, alpha=0.1, spike_probability=0.5)


def made_of(field: np.ndarray) -> mfn.SimulationResult:
    spec = FieldSpec(model="mycelium", grid_size=field.shape[0], seed=1)
    return mfn.SimulationResult(spec=spec, engine="none", state=FieldState(step=3, field=field))


def test_the_field_cannot_be_written_into(result: mfn.SimulationResult) -> None:
    with pytest.raises(ValueError, match="read-only"):
        result.field[0, 0] = 0.0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result.engine = "other"  # type: ignore[misc] # the point of the test


def test_statistics_and_dimensions_are_computed_once(result: mfn.SimulationResult) -> None:
    assert result.statistics is result.statistics
    assert result.dimension is result.dimension
    assert result.statistics.mean_mv == pytest.approx(float(np.mean(result.field)) * 1000, rel=1e-12)
    assert result.statistics.std_mv == pytest.approx(float(np.std(result.field)) * 1000, rel=1e-12)


def test_the_dict_is_json_with_the_documented_keys(result: mfn.SimulationResult) -> None:
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told == result.to_dict()
    assert {
        "model",
        "engine",
        "seed",
        "grid_size",
        "steps",
        "growth_events",
        "fractal_dimension",
        "dimension",
        "pot_min_mV",
        "pot_max_mV",
        "pot_mean_mV",
        "pot_std_mV",
    } <= told.keys()
    assert told["parameters"]["alpha"] == 0.1
    assert told["boundary"] == "periodic"
    measured = features(result.field, volts=True).to_dict()
    assert told["dimension"] == measured["dimension"]


def test_an_undefined_dimension_is_none_with_a_reason_beside_the_legacy_zero(result: mfn.SimulationResult) -> None:
    assert result.to_dict()["fractal_dimension"] == 0.0
    assert result.to_dict()["dimension"]["value"] is None
    assert result.to_dict()["dimension"]["reason"] == "the mask is empty"
    assert "undefined: the mask is empty" in dict(result.rows())["dimension"]


def test_a_defined_dimension_comes_with_its_fit() -> None:
    told = made_of(np.full((16, 16), -0.05)).to_dict()["dimension"]
    assert told["value"] == pytest.approx(2.0)
    assert told["reason"] is None
    assert told["r_squared"] == pytest.approx(1.0)
    assert told["interval"] == pytest.approx([2.0, 2.0])
    assert told["standard_error"] == pytest.approx(0.0, abs=1e-12)
    assert len(told["scales"]) == len(told["counts"]) >= 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_none_in_json(bad: float) -> None:
    field = np.full((8, 8), -0.07)
    field[0, 0] = bad
    with np.errstate(invalid="ignore"):  # NumPy warns of an infinity less an infinity
        told = made_of(field).to_dict()
    assert told["pot_mean_mV"] is None
    assert told["pot_max_mV"] is None
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_it_survives_pickling_with_and_without_what_was_computed(result: mfn.SimulationResult) -> None:
    fresh = mfn.simulate(seed=7, grid_size=16, steps=10, alpha=0.1, spike_probability=0.5)
    for original in (fresh, result):
        copy = pickle.loads(pickle.dumps(original))
        assert copy.to_dict() == result.to_dict()
        assert copy.field.tobytes() == result.field.tobytes()


def test_repr_table_and_html_name_what_was_simulated(result: mfn.SimulationResult) -> None:
    assert re.fullmatch(
        r"SimulationResult\(model='mycelium', engine='\w+', seed=7, grid_size=16, steps=10, growth_events=8, "
        r"mean=-70.1881 mV\)",
        repr(result),
    )
    console = Console(file=StringIO(), width=60)
    console.print(result)
    text = console.file.getvalue()
    assert all(len(line) <= 60 for line in text.splitlines())
    for part in ("16 × 16 cells, seed 7", "10, with 8 growth events", "turing_enabled on"):
        assert part in " ".join(text.split())
    html = result._repr_html_()
    assert html.startswith("<table>")
    assert "<td>16 × 16 cells, seed 7</td>" in html


def test_markup_and_html_in_a_name_are_shown_as_they_are() -> None:
    made = made_of(np.full((8, 8), -0.07))
    odd = attrs.evolve(made, engine="[bold]<b>")
    console = Console(file=StringIO(), width=100)
    console.print(odd)
    assert "mycelium on engine [bold]<b>" in console.file.getvalue()
    assert "[bold]&lt;b&gt;" in odd._repr_html_()


def test_a_saved_field_is_read_back_bit_for_bit(result: mfn.SimulationResult, tmp_path: Path) -> None:
    path = result.save(str(tmp_path / "field.npy"))
    assert path == tmp_path / "field.npy"
    loaded = np.load(path)
    assert loaded.dtype == np.float64
    assert loaded.tobytes() == result.field.tobytes()
    assert listing(tmp_path) == ["field.npy"]


def test_a_saved_field_has_the_mode_of_any_new_file(result: mfn.SimulationResult, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    result.save(tmp_path / "field.npy")
    assert stat.S_IMODE((tmp_path / "field.npy").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_saving_replaces_what_was_there(result: mfn.SimulationResult, tmp_path: Path) -> None:
    (tmp_path / "field.npy").write_text("old")
    result.save(tmp_path / "field.npy")
    assert np.load(tmp_path / "field.npy").shape == (16, 16)


@pytest.mark.parametrize("name", ["field", "field.txt", "field.npy.gz", "field.NPY"])
def test_another_suffix_is_refused_and_nothing_written(result: mfn.SimulationResult, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(name)} does not end in .npy"):
        result.save(tmp_path / name)
    assert listing(tmp_path) == []


def test_a_missing_directory_is_named_as_the_caller_named_it(result: mfn.SimulationResult, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        result.save(tmp_path / "none" / "field.npy")
    assert caught.value.filename == str(tmp_path / "none" / "field.npy")


def test_a_directory_in_the_way_stays_and_nothing_is_left_beside_it(
    result: mfn.SimulationResult, tmp_path: Path
) -> None:
    (tmp_path / "field.npy").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        result.save(tmp_path / "field.npy")
    assert caught.value.filename == str(tmp_path / "field.npy")
    assert listing(tmp_path) == ["field.npy"]


def test_a_failed_write_leaves_the_old_file(
    result: mfn.SimulationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "field.npy").write_text("old")

    def full(file: object, field: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined] # a binary file
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        result.save(tmp_path / "field.npy")
    assert listing(tmp_path) == ["field.npy"]
    assert (tmp_path / "field.npy").read_text() == "old"
