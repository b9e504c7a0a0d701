"""Plugins: found, loaded and refused, on distributions that are really installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, Problem
from mfn_core.registry import HOOK_KINDS, PluginRegistry
from mfn_model import MODELS, own_step

Install = Callable[..., None]

ENGINE = """
@hookimpl
def mfn_backends():
    return [ComponentSpec(name="slime", factory=lambda config, context: object(), summary="an engine")]
"""


def refused(*names: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as failed:
        PluginRegistry(names)
    return failed.value.problems


def only(problems: tuple[Problem, ...]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


def test_a_named_plugin_is_loaded_and_its_components_are_known(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    registry = PluginRegistry(["slime"])
    registered = registry.component(ComponentKind.BACKEND, "slime")
    assert registered.spec.summary == "an engine"
    assert registered.plugin == "slime"
    assert registered.distribution == "dist-slime 1.2.3"
    assert list(registry.components(ComponentKind.BACKEND)) == ["slime"]
    assert not registry.components(ComponentKind.TRANSPORT)
    assert registry.plugins["slime"].distribution == "dist-slime 1.2.3"


def test_plugins_that_are_not_named_are_not_imported(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    install_plugin("other", "raise RuntimeError('imported')")
    PluginRegistry(["slime"])
    assert "other_module" not in sys.modules


def test_a_second_section_of_a_component_is_of_that_component(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    registry = PluginRegistry(["slime"])
    assert registry.component(ComponentKind.BACKEND, "slime/second").spec.name == "slime"


def test_a_component_that_nobody_declares_is_refused_with_the_known_ones(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    with pytest.raises(ConfigError) as failed:
        PluginRegistry(["slime"]).component(ComponentKind.BACKEND, "slym/e")
    problem = only(failed.value.problems)
    assert problem.path == 'engines."slym/e"'
    assert "'slym'" in problem.message
    assert "did you mean 'slime'?" in problem.remedy


def test_every_kind_of_component_has_the_hook_that_declares_it() -> None:
    assert set(HOOK_KINDS.values()) == set(ComponentKind)


@pytest.mark.parametrize(("hook", "kind"), HOOK_KINDS.items())
def test_each_hook_declares_its_kind(install_plugin: Install, hook: str, kind: ComponentKind) -> None:
    install_plugin("slime", ENGINE.replace("mfn_backends", hook))
    assert PluginRegistry(["slime"]).component(kind, "slime").kind is kind


def test_an_import_path_names_a_module_without_an_entry_point(install: Install) -> None:
    header = "from mfn_core import ComponentSpec, hookimpl\n"
    install("dist-loose", files={"loose/__init__.py": "", "loose/plugin.py": header + ENGINE})
    registry = PluginRegistry(["loose.plugin"])
    assert registry.component(ComponentKind.BACKEND, "slime").distribution == "dist-loose 1.2.3"


def test_an_import_path_names_an_object_of_a_module(site: Any) -> None:
    (site / "objects.py").write_text(
        "from mfn_core import ComponentSpec, hookimpl\n"
        "class Plugin:\n"
        "    @hookimpl\n"
        "    def mfn_backends(self):\n"
        "        return [ComponentSpec(name='slime', factory=lambda c, x: object(), summary='an engine')]\n"
        "class holder:\n"
        "    plugin = Plugin()\n"
    )
    registered = PluginRegistry(["objects:holder.plugin"]).component(ComponentKind.BACKEND, "slime")
    assert registered.distribution == "objects:holder.plugin"


def test_an_import_path_to_nothing_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    assert "no module 'no_such_package'" in only(refused("no_such_package.plugin")).message
    assert "no module 'slime_module.inner'" in only(refused("slime_module.inner")).message
    assert "has no 'plugin'" in only(refused("slime_module:plugin")).message


def test_a_missing_plugin_is_refused_with_the_nearest_and_the_installed_ones(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    install_plugin("lichen", ENGINE)
    problem = only(refused("slimy"))
    assert problem.path == "server.plugins[0]"
    assert problem.message == "no plugin 'slimy' is installed"
    assert "did you mean 'slime'?" in problem.remedy
    assert "lichen" in problem.remedy


def test_a_failing_import_names_the_exception_and_the_distribution(install_plugin: Install) -> None:
    install_plugin("slime", "raise RuntimeError('no luck today')")
    message = only(refused("slime")).message
    assert "RuntimeError: no luck today" in message
    assert "dist-slime 1.2.3" in message


def test_a_missing_dependency_of_a_plugin_is_told_from_a_missing_plugin(install_plugin: Install) -> None:
    install_plugin("slime", "import no_such_dependency")
    message = only(refused("slime")).message
    assert "ModuleNotFoundError: No module named 'no_such_dependency'" in message


def test_a_plugin_that_exits_while_it_is_imported_is_one_problem_among_others(install_plugin: Install) -> None:
    install_plugin("slime", "raise SystemExit(3)")
    first, second = refused("slime", "missing")
    assert "SystemExit: 3" in first.message
    assert second.path == "server.plugins[1]"


def test_a_misspelt_hook_is_refused_with_the_nearest_one(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE.replace("mfn_backends", "mfn_backend") + ENGINE.replace("backends", "transport"))
    problems = refused("slime")
    assert ["'mfn_backend'" in problems[0].message, "'mfn_transport'" in problems[1].message] == [True, True]
    assert "did you mean 'mfn_backends'?" in problems[0].remedy
    assert "dist-slime 1.2.3" in problems[0].message


def test_a_hook_with_other_arguments_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE.replace("mfn_backends()", "mfn_backends(server)"))
    message = only(refused("slime")).message
    assert "implements a hook wrongly" in message
    assert "server" in message


def test_a_hook_that_is_not_marked_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE.replace("@hookimpl", ""))
    assert "mfn_backends()" in refused("slime")[0].message
    assert "not marked with @hookimpl" in refused("slime")[0].message


def test_a_module_without_hooks_is_no_plugin(install_plugin: Install) -> None:
    install_plugin("slime", "")
    assert "implements no hook" in only(refused("slime")).message


def test_two_plugins_that_declare_one_component_are_both_named(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    install_plugin("lichen", ENGINE)
    problem = only(refused("slime", "lichen"))
    assert problem.path == "server.plugins[1]"
    assert "engines.slime" in problem.message
    assert "plugin 'slime' (dist-slime 1.2.3)" in problem.message
    assert "plugin 'lichen' (dist-lichen 1.2.3)" in problem.message


def test_a_component_may_share_its_name_with_one_of_another_kind(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE + ENGINE.replace("backends", "limiters"))
    registry = PluginRegistry(["slime"])
    assert registry.component(ComponentKind.LIMITER, "slime") is not registry.component(ComponentKind.BACKEND, "slime")


def test_two_distributions_with_one_entry_point_are_both_named(install: Install) -> None:
    for number in ("one", "two"):
        install(
            f"dist-{number}",
            files={f"{number}_module.py": ""},
            entry_points={"mfn.plugins.v1": {"slime": f"{number}_module"}},
        )
    assert "dist-one 1.2.3 and dist-two 1.2.3" in only(refused("slime")).message


@pytest.mark.parametrize(
    ("group", "remedy"),
    [
        ("mfn.plugins.v0", "newer release of dist-slime"),
        ("mfn.plugins.v2", "newer mfn-core"),
        ("mfn.plugins.v10", "newer mfn-core"),
    ],
)
def test_a_plugin_for_another_version_of_the_plugin_api_is_refused_unimported(
    install: Install, group: str, remedy: str
) -> None:
    install(
        "dist-slime",
        files={"slime_module.py": "raise RuntimeError('imported')"},
        entry_points={group: {"slime": "slime_module"}},
    )
    problem = only(refused("slime"))
    assert problem.path == "server.plugins[0]"
    assert "plugin 'slime' (dist-slime 1.2.3)" in problem.message
    assert f"{group}, and this kernel has mfn.plugins.v1" in problem.message
    assert remedy in problem.remedy
    assert ("pyproject.toml" in problem.remedy) == (group == "mfn.plugins.v0")
    ((plugin, listed),) = PluginRegistry.of_other_versions()
    assert (plugin.name, plugin.distribution, plugin.version) == ("slime", "dist-slime", "1.2.3")
    assert listed.message == problem.message
    assert "slime" not in {each.name for each in PluginRegistry.installed()}


def test_a_plugin_for_several_versions_is_loaded_and_not_reported(install: Install) -> None:
    header = "from mfn_core import ComponentSpec, hookimpl\n"
    install(
        "dist-slime",
        files={"slime_module.py": header + ENGINE},
        entry_points={group: {"slime": "slime_module"} for group in ("mfn.plugins.v0", "mfn.plugins.v1")},
    )
    assert list(PluginRegistry(["slime"]).plugins) == ["slime"]
    assert PluginRegistry.of_other_versions() == []


def test_groups_that_only_look_alike_are_left_alone(install: Install) -> None:
    groups = ("mfn.plugins", "mfn.plugins.v", "mfn.plugins.v0.extra", "other.mfn.plugins.v0", "mfn-plugins-v0")
    install("dist-slime", files={}, entry_points={group: {"slime": "slime_module"} for group in groups})
    assert PluginRegistry.of_other_versions() == []


def test_what_is_no_component_spec_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", "@hookimpl\ndef mfn_backends():\n    return [dict(name='slime')]\n")
    message = only(refused("slime")).message
    assert "mfn_backends()" in message
    assert "a dict, which is no ComponentSpec" in message


@pytest.mark.parametrize(
    ("returned", "named"), [("None", "NoneType"), ("'slime'", "str"), ("7", "int"), ("{'a': 1}", "dict")]
)
def test_what_is_no_sequence_is_refused(install_plugin: Install, returned: str, named: str) -> None:
    install_plugin("slime", f"@hookimpl\ndef mfn_backends():\n    return {returned}\n")
    assert f"must return a sequence of ComponentSpec, not {named}" in only(refused("slime")).message


def test_a_hook_that_raises_is_named_with_its_error(install_plugin: Install) -> None:
    install_plugin("slime", "@hookimpl\ndef mfn_backends():\n    raise KeyError('spore')\n")
    problem = only(refused("slime"))
    assert problem.path == "server.plugins[0]"
    assert "mfn_backends() of plugin 'slime' (dist-slime 1.2.3) failed: KeyError: 'spore'" in problem.message


def test_a_configuration_class_that_is_no_attrs_class_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE.replace("summary=", "config=dict, summary="))
    assert "no attrs class" in only(refused("slime")).message


def test_naming_a_plugin_twice_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    assert "named twice" in only(refused("slime", "slime")).message


def test_naming_a_plugin_in_two_ways_is_refused(install: Install) -> None:
    header = "from mfn_core import ComponentSpec, hookimpl\n"
    install(
        "dist-slime",
        files={"slimes/__init__.py": "", "slimes/plugin.py": header + ENGINE},
        entry_points={"mfn.plugins.v1": {"slime": "slimes.plugin"}},
    )
    problem = only(refused("slime", "slimes.plugin"))
    assert problem.message == "plugins 'slime' and 'slimes.plugin' are the same"


def test_every_problem_is_reported_at_once(install_plugin: Install) -> None:
    install_plugin("slime", ENGINE)
    install_plugin("broken", "1 / 0")
    install_plugin("typo", ENGINE.replace("backends", "bakends"))
    paths = [problem.path for problem in refused("missing", "slime", "broken", "typo")]
    assert paths == ["server.plugins[0]", "server.plugins[2]", "server.plugins[3]"]


def test_checks_of_all_plugins_are_collected_and_a_failing_one_is_a_problem(install_plugin: Install) -> None:
    install_plugin(
        "slime",
        "@hookimpl\ndef mfn_check(plan):\n    yield Problem(path='engines.slime', message=f'plan {plan} is too wet')\n",
    )
    install_plugin("broken", "@hookimpl\ndef mfn_check(plan):\n    1 / 0\n")
    install_plugin("silent", "@hookimpl\ndef mfn_check(plan):\n    return None\n")
    install_plugin("wrong", "@hookimpl\ndef mfn_check(plan):\n    return ['too dry']\n")
    found = PluginRegistry(["slime", "broken", "silent", "wrong"]).check("P")  # type: ignore[arg-type] # any value will do
    assert found[0] == Problem(path="engines.slime", message="plan P is too wet")
    assert "mfn_check() of plugin 'broken' (dist-broken 1.2.3) failed: ZeroDivisionError" in found[1].message
    assert "a str, which is no Problem" in found[2].message
    assert len(found) == 3


def test_installed_plugins_are_listed_without_importing_them(install_plugin: Install) -> None:
    install_plugin("slime", "raise RuntimeError('imported')")
    (plugin,) = (plugin for plugin in PluginRegistry.installed() if plugin.name == "slime")
    assert (plugin.distribution, plugin.version) == ("dist-slime", "1.2.3")
    assert plugin.summary == "a distribution of a test"
    assert plugin.target == "slime_module"
    assert "slime_module" not in sys.modules


# Field models.

MODEL = """
from mfn_model import FieldModel, Species

def model(name, description="a quantity"):
    species = (Species(name="u", unit="1", description=description),)
    return FieldModel(
        name=name, summary="a model", species=species, parameters=(), boundary="periodic", source="a test"
    )

@hookimpl
def mfn_models():
    return [{models}]
"""


def test_the_models_of_a_plugin_are_known_and_registered_when_asked_for(install_plugin: Install) -> None:
    install_plugin("slime", MODEL.format(models="model('registry_slime')"))
    registry = PluginRegistry(["slime"])
    (declared,) = registry.models.values()
    assert (declared.model.name, declared.plugin) == ("registry_slime", "slime")
    assert declared.origin == "plugin 'slime' (dist-slime 1.2.3)"
    assert "registry_slime" not in MODELS
    assert registry.register_models() == []
    assert registry.register_models() == []
    assert MODELS["registry_slime"] is declared.model


def test_two_plugins_may_not_declare_different_models_of_one_name(install_plugin: Install) -> None:
    install_plugin("slime", MODEL.format(models="model('registry_twice')"))
    install_plugin("mould", MODEL.format(models="model('registry_twice', 'another'), model('registry_once')"))
    install_plugin("lichen", MODEL.format(models="model('registry_twice')"))
    problem = only(refused("slime", "mould"))
    assert problem.path == "server.plugins[1]"
    assert problem.message == (
        "model 'registry_twice' is declared by plugin 'slime' (dist-slime 1.2.3) "
        "and by plugin 'mould' (dist-mould 1.2.3)"
    )
    assert set(PluginRegistry(["slime", "lichen"]).models) == {"registry_twice"}  # the same declaration


def test_a_name_of_the_catalogue_is_taken(install_plugin: Install) -> None:
    install_plugin("slime", MODEL.format(models="model('mycelium'), model('registry_free')"))
    registry = PluginRegistry(["slime"])
    problem = only(tuple(registry.register_models()))
    assert problem.path == "server.plugins"
    assert "'mycelium' is already registered by mfn_model" in problem.message
    assert "by plugin 'slime' (dist-slime 1.2.3)" in problem.message
    assert MODELS["mycelium"].species[0].name == "potential"
    assert "registry_free" in MODELS


def test_what_is_no_model_is_refused(install_plugin: Install) -> None:
    install_plugin("slime", MODEL.format(models="'heat', model('registry_beside')"))
    assert "declares a str, which is no FieldModel" in only(refused("slime")).message
    install_plugin("mould", "@hookimpl\ndef mfn_models():\n    return None\n")
    assert "must return a sequence of FieldModel, not NoneType" in only(refused("mould")).message
    install_plugin("lichen", "from mfn_model import FieldModel\n@hookimpl\ndef mfn_models():\n    FieldModel()\n")
    message = only(refused("lichen")).message
    assert "mfn_models() of plugin 'lichen' (dist-lichen 1.2.3) failed: TypeError" in message


STEP = """
from mfn_core import hookimpl
from mfn_model import OwnStep

def update(spec, old, new):
    raise AssertionError("nobody steps here")

@hookimpl
def mfn_steps():
    return [{steps}]
"""


def test_steps_for_engines_are_taken_to_this_process(install_plugin: Install) -> None:
    install_plugin("slime", STEP.format(steps="OwnStep(model='mycelium', engine='registry_one', update=update)"))
    registry = PluginRegistry(["slime"])
    assert own_step("mycelium", "registry_one") is None
    assert registry.register_models() == registry.register_models() == []
    found = own_step("mycelium", "registry_one")
    assert found is not None
    assert found.update.__name__ == "update"


def test_two_plugins_may_not_bring_steps_for_one_engine(install_plugin: Install) -> None:
    step = "OwnStep(model='mycelium', engine='registry_two', update=update)"
    install_plugin("slime", STEP.format(steps=step))
    install_plugin("mould", STEP.format(steps=step))
    problem = only(refused("slime", "mould"))
    assert problem.path == "server.plugins[1]"
    assert problem.message == (
        "a step of model 'mycelium' for engine 'registry_two' is brought by plugin 'slime' (dist-slime 1.2.3) "
        "and by plugin 'mould' (dist-mould 1.2.3)"
    )
    assert PluginRegistry(["slime"]).register_models() == []
    problem = only(tuple(PluginRegistry(["mould"]).register_models()))
    assert problem.path == "server.plugins"
    assert "is already registered by plugin 'slime' (dist-slime 1.2.3), and cannot be" in problem.message


def test_a_step_of_no_model_and_what_is_no_step_are_refused(install_plugin: Install) -> None:
    install_plugin("slime", STEP.format(steps="OwnStep(model='registry_nobody', engine='numpy', update=update)"))
    problem = only(tuple(PluginRegistry(["slime"]).register_models()))
    assert problem.message == (
        "plugin 'slime' (dist-slime 1.2.3) brings a step of model 'registry_nobody', which nobody declares"
    )
    install_plugin("mould", STEP.format(steps="update"))
    assert "brings a function, which is no OwnStep" in only(refused("mould")).message
    install_plugin("lichen", STEP.format(steps="OwnStep(model='mycelium', engine='A', update=update)"))
    assert "mfn_steps() of plugin 'lichen' (dist-lichen 1.2.3) failed: ValueError" in only(refused("lichen")).message
