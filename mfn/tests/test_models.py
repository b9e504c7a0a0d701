"""Field models that strangers declare, found where they are installed; and `mfn models`."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import mfn
from mfn import engines, models
from mfn.commands.models import models as models_command
from mfn.commands.simulate import simulate as simulate_command
from mfn_core.testing.plugin import PluginSuite
from mfn_model import MODELS, FieldSpec, SpecError, fastest_growing_wavelength, get_model, reference
from mfn_model import models as own

TOY = textwrap.dedent(
    """\
    from mfn_core import hookimpl
    from mfn_model import Constant, FieldModel, Normal, Parameter, Patches, Species, Spike

    FIRE = FieldModel(
        name="{name}",
        summary="a front that burns what it finds",
        species=(
            Species(
                name="heat",
                unit="K",
                description="temperature above that of the surroundings",
                symbol="t",
                diffusion="spread",
                reaction="burning * t * f - cooling * t",
                minimum=0.0,
                maximum={maximum},
                counts_clamping=True,
                initial=Normal(mean="0.1", deviation="0.01"),
            ),
            Species(name="fuel", unit="1", description="what is left", symbol="f", reaction="-burning * t * f / 50",
                    minimum=0.0, maximum=1.0, initial=Constant(value="1")),
        ),
        parameters=(
            Parameter(name="spread", default=0.2, unit="cells²/step", description="spread", minimum=0, maximum=0.25),
            Parameter(name="burning", default=0.05, unit="1/step", description="burning", minimum=0.0, maximum=0.1),
            Parameter(name="cooling", default=0.02, unit="1/step", description="cooling", minimum=0.0, maximum=0.1),
        ),
        spikes=(Spike(species="heat", probability="0.1", mean="30", deviation="5"),),
        patches=Patches(count="3", side="4", values=(("heat", "40"),)),
        boundary="neumann",
        source="the test that declares it",
    )


    @hookimpl
    def mfn_models():
        return [FIRE]
    """
)
PLAIN_ENGINE = """
from mfn_core import ComponentSpec, hookimpl, require_supported
from mfn_model import reference

class Session:
    def __init__(self, spec):
        self.spec, self.done = spec, 0

    def step(self, n, cancel):
        self.done += n
        return n

    def state(self):
        return reference(self.spec, self.done)

    def close(self):
        pass

class Plain:
    def supports(self, spec):
        return True

    def open(self, spec):
        require_supported(self, spec)
        return Session(spec)

@hookimpl
def mfn_backends():
    return [ComponentSpec(name="plain", factory=lambda config, context: Plain(), summary="for a test")]
"""


class Site:
    """A directory on the path, in which a test installs plugins."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, plugin: str, source: str) -> None:
        module = f"test_of_models_{plugin}"
        (self.path / f"{module}.py").write_text(source, encoding="utf-8")
        info = self.path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\nSummary: for a test\n")
        (info / "entry_points.txt").write_text(f"[mfn.plugins.v1]\n{plugin} = {module}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    models._loaded.cache_clear()
    monkeypatch.setattr(models, "_clashes", {})
    engines._load.cache_clear()
    yield Site(tmp_path)
    models._loaded.cache_clear()
    engines._load.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("test_of_models_"):
            del sys.modules[name]


def fire(name: str, maximum: float = 500.0) -> str:
    return TOY.format(name=name, maximum=maximum)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(models_command, [str(argument) for argument in arguments])


def simulated(*arguments: object) -> Result:
    return CliRunner().invoke(simulate_command, [str(argument) for argument in arguments])


def test_a_model_takes_less_than_forty_lines() -> None:
    assert len([line for line in TOY.splitlines() if line.strip()]) < 40


def test_a_model_of_an_installed_plugin_is_simulated_by_its_name(site: Site) -> None:
    site.install("model_fire", fire("fire_found"))
    site.install("engine_plain", PLAIN_ENGINE)
    assert "fire_found" not in MODELS
    result = mfn.simulate(seed=3, grid_size=16, steps=20, model="fire_found", engine="plain", burning=0.08)
    expected = reference(result.spec, 20)
    assert np.array_equal(result.field, expected.field)
    assert np.array_equal(result.state.species["fuel"], expected.species["fuel"])
    assert result.spec.boundary == "neumann"
    assert result.growth_events > 0
    assert result.state.species["fuel"].min() < 0.9
    told = simulated("--model", "fire_found", "--engine", "plain", "--grid", 16, "--steps", 20, "--seed", 3, "--json",
                     "--set", "burning=0.08")  # fmt: skip
    assert told.exit_code == 0, told.output
    row = json.loads(told.stdout)
    assert row["parameters"] == {"spread": 0.2, "burning": 0.08, "cooling": 0.02}
    assert row["field"]["species"] == "heat"
    assert row["field"]["unit"] == "K"
    assert row["field"]["mean"] == pytest.approx(expected.field.mean())
    assert row["pot_mean_mV"] is None
    assert row["dimension"] is None
    shown = simulated("--model", "fire_found", "--engine", "plain", "--grid", 16, "--steps", 20).stdout
    assert " K" in shown
    assert "mV" not in shown
    assert "heat" in repr(result.rows())
    assert " K)" in repr(result)


def test_a_plugin_is_imported_only_for_a_name_that_is_not_known(site: Site) -> None:
    site.install("model_fire", fire("fire_lazy"))
    mfn.simulate(grid_size=8, steps=1)
    assert "test_of_models_model_fire" not in sys.modules
    models.find_model("fire_lazy")
    assert "test_of_models_model_fire" in sys.modules
    assert get_model("fire_lazy").summary == "a front that burns what it finds"


def test_a_plugin_of_another_kind_is_not_looked_at(site: Site) -> None:
    site.install("engine_fire", fire("fire_of_an_engine"))
    models.find_model("fire_of_an_engine")
    assert "test_of_models_engine_fire" not in sys.modules
    with pytest.raises(SpecError, match="no model 'fire_of_an_engine' is known"):
        mfn.simulate(grid_size=8, steps=1, model="fire_of_an_engine")


def test_two_plugins_that_declare_one_name_are_both_named(site: Site) -> None:
    site.install("model_fire", fire("fire_twice"))
    site.install("model_wild", fire("fire_twice", maximum=100.0))
    for _ in range(2):  # at the first look, and when the name is known already
        with pytest.raises(SpecError) as caught:
            mfn.simulate(grid_size=8, steps=1, model="fire_twice")
        (violation,) = caught.value.violations
        assert violation.field == "model"
        assert "plugin 'model_fire' (test_of_models_model_fire 1.0)" in violation.message
        assert "plugin 'model_wild' (test_of_models_model_wild 1.0)" in violation.message
    told = run("fire_twice")
    assert told.exit_code == 2
    assert "model_fire" in told.stderr
    assert "model_wild" in told.stderr


def test_a_plugin_that_takes_the_name_of_a_known_model_is_left_out(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.install("model_fire", fire("mycelium"))
    with caplog.at_level(logging.WARNING):
        plugins = models.model_plugins()
    (problem,) = plugins.problems
    assert "'mycelium' is already registered by mfn_model" in problem
    assert "model_fire" in problem
    assert problem in caplog.text
    assert "mycelium" not in plugins.origins
    assert mfn.simulate(grid_size=8, steps=1).spec.declaration.species[0].name == "potential"


def test_a_plugin_that_fails_keeps_no_other_from_being_found(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.install("model_broken", "import a_library_that_nobody_has\n")
    site.install("model_fire", fire("fire_beside"))
    models.find_model("fire_beside")
    assert "fire_beside" in MODELS
    (record,) = [each for each in caplog.records if "model_broken" in each.getMessage()]
    assert "a_library_that_nobody_has" in record.getMessage()
    told = run()
    assert told.exit_code == 0
    assert "model_broken" in told.stderr
    assert "fire_beside" in told.stdout


def test_names_that_are_no_text_are_left_to_the_specification() -> None:
    for name in (None, 3, ["mycelium"]):
        models.find_model(name)
        with pytest.raises(SpecError, match="no model"):
            mfn.simulate(grid_size=8, steps=1, model=name)  # type: ignore[arg-type]  # what is being tested


# The suite that the author of such a plugin runs.


class TestFire(PluginSuite):
    plugin = "model_fire"

    @pytest.fixture(autouse=True)
    def installed_here(self, site: Site) -> None:
        site.install("model_fire", fire("fire_of_the_suite"))


# mfn models.


def test_the_models_are_listed_with_their_origin(site: Site) -> None:
    site.install("model_fire", fire("fire_listed"))
    told = run("--json")
    assert told.exit_code == 0
    rows = {row["name"]: row for row in json.loads(told.stdout)["models"]}
    assert {"mycelium", "mycelium_rd", "mycelium_turing", "gray_scott"} <= rows.keys()
    assert rows["mycelium"]["origin"] == "mfn_model"
    assert rows["fire_listed"]["origin"] == "plugin 'model_fire' (test_of_models_model_fire 1.0)"
    assert list(rows) == sorted(rows)
    lines = run().stdout.splitlines()
    assert any(line.startswith("schnakenberg ") for line in lines)
    assert any("fire_listed" in line and "model_fire" in line for line in lines)


@pytest.mark.parametrize("name", ["mycelium", "mycelium_rd", *(getattr(own, name).name for name in own.__all__)])
def test_every_model_is_described(name: str) -> None:
    model = get_model(name)
    told = json.loads(run(name, "--json").stdout)
    assert told["name"] == name
    assert [each["name"] for each in told["species"]] == [each.name for each in model.species]
    assert [each["name"] for each in told["parameters"]] == [each.name for each in model.parameters]
    assert told["boundaries"] == list(model.boundaries)
    text = run(name).stdout
    for each in model.parameters:
        assert each.name in text
        assert each.bound in text
        assert f"[{each.unit}]" in text
    for species in model.species:
        assert f"{species.symbol or species.name} <- {species.symbol or species.name} + " in text
        assert f"{species.name} [{species.unit}" in text
    assert model.source in text


def test_the_description_has_the_linear_analysis_of_the_defaults() -> None:
    spec = FieldSpec(model="schnakenberg", grid_size=4, seed=0)
    told = json.loads(run("schnakenberg", "--json").stdout)
    analysis = told["linear_analysis"]
    assert analysis["turing_unstable"] is True
    assert analysis["wavelength"] == pytest.approx(fastest_growing_wavelength(spec))
    assert analysis["steady_state"] == pytest.approx({"activator": 1.0, "substrate": 0.9})
    assert told["instability"] == spec.declaration.instability
    text = run("schnakenberg").stdout
    assert "u <- u + (d_u * L(u) + rate * (a - u + u**2 * v))" in text
    assert "begins as N(a + b, (0.01 * (a + b))²)" in text
    assert f"Turing-unstable; waves of {analysis['wavelength']:.2f} cells grow fastest" in text
    assert "no wave of a finite length" in run("gray_scott").stdout
    assert "in seeds squares of side seed_side at first substrate = 0.5" in run("gray_scott").stdout
    mycelium = run("mycelium").stdout
    assert "h <- h + (0.05 * L(h) + 0.02 * (a - h))" in mycelium
    assert "one after the other" in mycelium
    assert "where activator > turing_threshold: potential gains 0.005" in mycelium
    assert "noise of potential: N(0, jitter_variance), with jitter" in mycelium
    assert "spike of potential with probability spike_probability: N(0.02, (0.005)²)" in mycelium


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    told = run("grey_scott")
    assert told.exit_code == 2
    assert told.stderr == "Error: no model 'grey_scott' is known; did you mean 'gray_scott'?\n"
    assert told.stdout == ""


def test_the_command_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", "models", "brusselator"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("brusselator: ")


@pytest.mark.parametrize("text", ["burning", "burning=", "burning=much", "=1"])
def test_an_assignment_that_says_nothing_is_refused(text: str) -> None:
    told = simulated("--set", text)
    assert told.exit_code == 2
    assert "Error: " in told.stderr


def test_switches_can_be_assigned() -> None:
    row = json.loads(simulated("--set", "jitter=on", "--set", "turing_enabled=false", "--grid", 8, "--json").stdout)
    assert (row["parameters"]["jitter"], row["parameters"]["turing_enabled"]) == (True, False)


CLASHING = """
from mfn_core import hookimpl
from mfn_model import FieldModel, Kick, Parameter, Species, Uniform

MODEL = FieldModel(
    name="clashing",
    summary="names that columns have, too",
    species=(
        Species(
            name="u", unit="1", description="d", diffusion="0.1", reaction="-V_std * u - steps * u", initial=Uniform()
        ),
    ),
    parameters=(
        Parameter(name="steps", default=0.01, unit="1/step", description="decay", minimum=0.0, maximum=1.0),
        Parameter(name="V_std", default=0.02, unit="1", description="decay", minimum=0.0, maximum=1.0),
        Parameter(name="eaten", default=0.02, unit="1", description="nothing", minimum=0.0, maximum=1.0),
    ),
    kicks=(
        Kick(species="u", above="0.2", target="u", amount="-0.1", counter="V_max"),
        Kick(species="u", above="0.3", target="u", amount="-0.1", counter="eaten"),
    ),
    boundary="periodic",
    source="the test that declares it",
)

@hookimpl
def mfn_models():
    return [MODEL]
"""


def test_a_table_tells_parameters_and_counters_from_its_own_columns(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")
    site.install("model_clashing", CLASHING)
    monkeypatch.setenv("PYTHONPATH", str(site.path))
    asked = {"steps": [0.01, 0.5], "V_std": [0.0, 0.25]}
    table = mfn.sweep(
        asked, model="clashing", engine="numpy", seeds=1, grid_size=8, steps=5, output=tmp_path / "swept"
    ).to_pydict()
    assert (table["steps"], table["parameter.steps"]) == ([5] * 4, [0.01, 0.01, 0.5, 0.5])
    assert (table["parameter.V_std"], table["parameter.eaten"]) == ([0.0, 0.25, 0.0, 0.25], [0.02] * 4)
    first = mfn.simulate(
        seed=1, grid_size=8, steps=5, model="clashing", engine="numpy", parameters={"steps": 0.01, "V_std": 0.0}
    )
    assert table["counter.V_max"][0] == first.state.counters["V_max"] > 0
    assert table["eaten"][0] == first.state.counters["eaten"]
    assert table["V_std"][0] == pytest.approx(first.field.std())
    assert table["V_max"][0] == pytest.approx(first.field.max())


PARTIAL_ENGINE = (
    PLAIN_ENGINE.replace("Plain", "Partial")
    .replace('"plain"', '"partial"')
    .replace(
        "        return True",
        """        return not spec.parameters["jitter"]

    def speed(self, spec):
        return 1e15""",
    )
)


def test_a_sweep_takes_the_fastest_engine_that_supports_all_of_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")
    site.install("engine_partial", PARTIAL_ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(site.path))
    asked = {"model": "mycelium", "seeds": 1, "grid_size": 8, "steps": 3}
    for jitter, engine in (([False], "partial"), ([False, True], "num")):
        output = tmp_path / engine
        table = mfn.sweep({"jitter": jitter}, output=output, **asked)
        header = json.loads(table.schema.metadata[b"mfn.sweep"])
        assert header["engine"].startswith(engine)
        assert table.num_rows == len(jitter)
    with pytest.raises(SpecError, match="engine 'partial' does not support"):
        mfn.sweep({"jitter": [False, True]}, engine="partial", output=tmp_path / "none", **asked)
    assert not (tmp_path / "none").exists()


def test_what_no_engine_supports_as_a_whole_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("engine_partial", PARTIAL_ENGINE)
    site.install("engine_other", PARTIAL_ENGINE.replace("return not", "return").replace("partial", "other"))
    still = FieldSpec(model="mycelium", grid_size=8, seed=1)
    noisy = still.with_parameters(jitter=True)
    assert engines.engine_for_all([still])[0] == "partial"
    assert engines.engine_for_all([still, noisy])[0] != "partial"
    assert engines.engine_for_all([noisy, still], "numpy")[0] == "numpy"
    with pytest.raises(SpecError, match="engine 'partial' does not support"):
        engines.engine_for_all([still, noisy], "partial")
    monkeypatch.setattr(engines, "available_engines", lambda: ("other", "partial"))
    with pytest.raises(
        SpecError, match="each of 2 kinds of simulations is supported by one of other, partial, and all"
    ):
        engines.engine_for_all([still, noisy])


STEP = """

from mfn_model import OwnStep

def update(spec, old, new):
    for before, after in zip(old, new):
        after[...] = before[1:-1, 1:-1] / 2

@hookimpl
def mfn_steps():
    return [OwnStep(model="{name}", engine="numpy", update=update)]
"""


def test_a_model_brings_a_step_for_one_engine_and_others_run_its_declaration(site: Site) -> None:
    site.install("model_fire", fire("fire_by_hand") + STEP.format(name="fire_by_hand"))
    site.install("engine_plain", PLAIN_ENGINE)
    asked = {"seed": 3, "grid_size": 8, "steps": 4, "model": "fire_by_hand"}
    written, declared = (mfn.simulate(**asked, engine=engine) for engine in ("numpy", "plain"))
    assert written.state.species["fuel"].max() == 2.0**-4  # the toy halves what there is, so that it can be told
    assert declared.state.species["fuel"].max() > 0.5
