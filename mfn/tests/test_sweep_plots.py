"""Pictures of sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfn

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
pa = pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")


@pytest.fixture(scope="module")
def table() -> Any:
    return mfn.sweep(
        {"alpha": "0.1,0.15,0.2", "spike_probability": "0.1,0.5"}, seeds="0:4", grid_size=12, steps=6, engine="numpy"
    )


def test_the_means_and_their_confidence_are_drawn_over_the_first_axis_that_varies(table: Any) -> None:
    axes = mfn.plot_sweep(table, "V_std")
    (line,) = axes.get_lines()
    alphas = np.array(table["alpha"].to_pylist())
    values = np.array(table["V_std"].to_pylist())
    x, y = line.get_data()
    assert list(x) == [0.1, 0.15, 0.2]
    np.testing.assert_allclose(y, [values[alphas == alpha].mean() for alpha in x])
    (points, band) = axes.collections
    assert len(points.get_offsets()) == 24
    edges = band.get_paths()[0].vertices
    group = values[alphas == 0.1]
    half = 1.96 * group.std(ddof=1) / np.sqrt(8)
    at = np.isclose(edges[:, 0], 0.1)
    np.testing.assert_allclose(
        sorted({*edges[at, 1].round(12)}), np.round([group.mean() - half, group.mean() + half], 12)
    )


def test_axes_say_what_they_are_with_units(table: Any) -> None:
    axes = mfn.plot_sweep(table, "V_std", over="alpha", by="spike_probability")
    assert axes.get_xlabel() == "alpha (cells²/step)"
    assert axes.get_ylabel() == "V_std (mV)"
    assert axes.get_title(loc="left") == "sweep: 24 simulations, means with 95 % confidence"
    legend = axes.get_legend()
    assert legend.get_title().get_text() == "spike probability"
    assert [text.get_text() for text in legend.get_texts()] == ["0.1", "0.5"]
    assert len(axes.get_lines()) == 2
    assert axes.get_lines()[0].get_color() != axes.get_lines()[1].get_color()


def test_a_sample_is_points_without_means() -> None:
    table = mfn.sweep(sample="minimal", samples=4)
    axes = mfn.plot_sweep(table, "growth_events", by="turing_enabled")
    assert axes.get_lines()[:] == []
    assert sum(len(each.get_offsets()) for each in axes.collections) == 4
    assert axes.get_title(loc="left") == "sample_minimal: 4 simulations"
    assert {text.get_text() for text in axes.get_legend().get_texts()} <= {"on", "off"}
    assert mfn.plot_sweep(table, "f_active", over="alpha").get_ylabel() == "f_active"
    assert axes.get_xlabel() == "steps"  # the first setting that varies: there is one grid


def test_it_takes_a_file_or_a_directory_and_writes_a_picture(table: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, tmp_path / "dataset.parquet")
    for source in (tmp_path, tmp_path / "dataset.parquet", str(tmp_path)):
        mfn.plot_sweep(source, "V_mean", tmp_path / "v.png")
        assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.parquet", "v.png"]


def test_every_part_lies_inside_the_picture(table: Any) -> None:
    for by in (None, "spike_probability"):
        figure = mfn.plot_sweep(table, "E_trend", by=by).figure
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height


def test_given_axes_are_drawn_into(table: Any) -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert mfn.plot_sweep(table, "V_std", ax=axes) is axes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"feature": "V_stdd"}, "the table has no column 'V_stdd'; did you mean 'V_std'"),
        ({"feature": "V_std", "over": "aplha"}, "the table has no column 'aplha'; did you mean 'alpha'"),
        ({"feature": "V_std", "by": "bye"}, "the table has no column 'bye'"),
        ({"feature": "scenario_name"}, "column 'scenario_name' holds string, and no numbers to draw"),
        ({"feature": "V_std", "by": "V_mean"}, r"column 'V_mean' has \d+ values, and 8 lines can be told apart"),
        ({"feature": "V_std", "path": "x.xyz"}, "does not end in a known picture format"),
    ],
)
def test_what_cannot_be_drawn_is_refused(table: Any, arguments: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mfn.plot_sweep(table, **arguments)  # type: ignore[arg-type]  # names and texts of the table above


def test_a_table_in_which_nothing_varies_needs_an_axis() -> None:
    table = mfn.sweep(seeds="0:3", grid_size=8, steps=1)
    with pytest.raises(ValueError, match="no parameter varies in this table; name a column with over"):
        mfn.plot_sweep(table, "V_std")
    assert mfn.plot_sweep(table, "V_std", over="random_seed").get_xlabel() == "random seed"


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"t\.parquet is not Parquet"):
        mfn.plot_sweep(tmp_path / "t.parquet", "V_std")
    with pytest.raises(FileNotFoundError):
        mfn.plot_sweep(tmp_path, "V_std")
