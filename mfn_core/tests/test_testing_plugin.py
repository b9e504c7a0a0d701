"""The suite for plugins: a sound plugin passes it, and each defect fails the test that is about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mfn_core.testing.plugin import PluginSuite

Install = Callable[..., None]

SOUND = """
from pathlib import Path

@frozen(kw_only=True)
class Tls:
    certificate: Path = setting(help="certificate")

@frozen(kw_only=True)
class Settings:
    size: int = setting(default=3, help="how large")
    tls: Tls | None = setting(default=None, help="encryption")

@frozen(kw_only=True)
class Keys:
    keys_file: Path = setting(help="keys")

def make(config, context):
    return object()

def read(config, context):
    return config.keys_file.name

@hookimpl
def mfn_backends():
    return [
        ComponentSpec(
            name="slime",
            config=Settings,
            factory=make,
            summary="an engine",
            examples={"large": "[engines.slime]\\nsize = 9"},
        )
    ]

@hookimpl
def mfn_authenticators():
    return [ComponentSpec(name="keys", config=Keys, factory=read, summary="keys")]
"""


class Sound(PluginSuite):
    plugin = "slime"


def checks_of(suite: PluginSuite, directory: Path) -> dict[str, Callable[[], None]]:
    def bound(name: str) -> Callable[[], None]:
        method = getattr(suite, name)
        takes_directory = "tmp_path" in method.__code__.co_varnames[: method.__code__.co_argcount]
        return (lambda: method(directory)) if takes_directory else method

    return {name: bound(name) for name in dir(suite) if name.startswith("test_")}


def failing(suite: PluginSuite, directory: Path) -> set[str]:
    failed = set()
    for name, test in checks_of(suite, directory).items():
        try:
            test()
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however a test of the suite fails, it is one
            failed.add(name.removeprefix("test_"))
    return failed


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "empty"
    path.mkdir()
    return path


def test_a_sound_plugin_passes(install_plugin: Install, directory: Path) -> None:
    install_plugin("slime", SOUND)
    for test in checks_of(Sound(), directory).values():
        test()


def test_settings_of_the_subclass_make_a_component_that_needs_them(install_plugin: Install, directory: Path) -> None:
    class Configured(Sound):
        settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {"auth.keys": {"keys_file": "keys.toml"}}

    install_plugin("slime", SOUND.replace("return config.keys_file.name", "raise ValueError(config.keys_file)"))
    assert failing(Configured(), directory) == {"factories_start_no_thread_and_open_no_socket"}


def test_an_uninstalled_plugin_fails_everything(directory: Path) -> None:
    assert len(failing(Sound(), directory)) == len(checks_of(Sound(), directory))


@pytest.mark.parametrize(
    ("old", "new", "fails"),
    [
        ("def mfn_backends", "def mfn_backend", "it_loads_and_implements_only_hooks_that_exist"),
        ('summary="an engine"', 'summary=""', "every_component_says_in_one_line_what_it_is"),
        ('summary="an engine"', 'summary="an\\nengine"', "every_component_says_in_one_line_what_it_is"),
        ('setting(default=3, help="how large")', "3", "every_setting_is_documented_and_has_a_json_schema"),
        ('setting(help="certificate")', '"a"', "every_setting_is_documented_and_has_a_json_schema"),
        ("size: int", "size: complex", "every_setting_is_documented_and_has_a_json_schema"),
        ("default=3", "default=3, validator=broken", "defaults_decode_or_the_missing_settings_are_named"),
        ("size = 9", "syze = 9", "its_examples_are_valid"),
        ("[engines.slime]", "[engines.lichen]", "its_examples_are_valid"),
    ],
)
def test_a_defect_fails_the_test_that_is_about_it(
    install_plugin: Install, directory: Path, old: str, new: str, fails: str
) -> None:
    assert old in SOUND
    broken = "\ndef broken(instance, attribute, value):\n    raise KeyError(value)\n"
    install_plugin("slime", broken + SOUND.replace(old, new))
    assert fails in failing(Sound(), directory)


def test_a_factory_that_starts_a_thread_fails(install_plugin: Install, directory: Path) -> None:
    threads = (
        "    import threading\n    global stop\n    stop = threading.Event()\n"
        "    threading.Thread(target=stop.wait, daemon=True).start()\n    return stop"
    )
    install_plugin("slime", SOUND.replace("    return object()", threads))
    try:
        assert failing(Sound(), directory) == {"factories_start_no_thread_and_open_no_socket"}
    finally:
        import slime_module  # type: ignore[import-not-found] # installed by the test

        slime_module.stop.set()


def test_a_factory_that_opens_a_socket_fails(install_plugin: Install, directory: Path) -> None:
    opens = "    import socket\n    global opened\n    opened = socket.socket()\n    return opened"
    install_plugin("slime", SOUND.replace("    return object()", opens))
    try:
        assert failing(Sound(), directory) == {"factories_start_no_thread_and_open_no_socket"}
    finally:
        import slime_module

        slime_module.opened.close()


def test_a_plugin_that_imports_another_one_fails(install_plugin: Install, directory: Path) -> None:
    install_plugin("lichen", SOUND)
    install_plugin("slime", "import lichen_module\n" + SOUND)
    assert failing(Sound(), directory) == {"importing_it_imports_no_other_plugin"}
