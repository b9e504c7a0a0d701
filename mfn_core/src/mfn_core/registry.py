"""The plugins of one server: exactly those that its configuration names, loaded, checked and asked what they bring."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, packages_distributions
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import pluggy
from attrs import frozen

from mfn_core import hookspecs
from mfn_core._installed import (
    InstalledPlugin,
    entries,
    entries_of_other_versions,
    in_words,
    installed_plugin,
    made_for_another_version,
)
from mfn_core._plugin_models import (
    BroughtStep,
    DeclaredModel,
    collect_models,
    collect_steps,
    register_models,
    register_steps,
)
from mfn_core.components import ComponentKind, ComponentSpec
from mfn_core.config import ConfigError, Problem, join_path, suggest

if TYPE_CHECKING:
    from mfn_core.assembly import Plan

__all__ = ["HOOK_KINDS", "DeclaredModel", "InstalledPlugin", "LoadedPlugin", "PluginRegistry", "Registered"]

_log = logging.getLogger(__name__)

HOOK_KINDS: Mapping[str, ComponentKind] = MappingProxyType(
    {
        "mfn_audit_sinks": ComponentKind.AUDIT_SINK,
        "mfn_telemetry": ComponentKind.TELEMETRY,
        "mfn_authenticators": ComponentKind.AUTHENTICATOR,
        "mfn_limiters": ComponentKind.LIMITER,
        "mfn_middlewares": ComponentKind.MIDDLEWARE,
        "mfn_executors": ComponentKind.EXECUTOR,
        "mfn_backends": ComponentKind.BACKEND,
        "mfn_services": ComponentKind.SERVICE,
        "mfn_transports": ComponentKind.TRANSPORT,
    }
)
"""The hooks that declare components, and the kind that each declares."""

KNOWN_HOOKS = (*HOOK_KINDS, "mfn_models", "mfn_steps", "mfn_check")


@frozen(kw_only=True)
class LoadedPlugin:
    """A plugin that was loaded and that declares only what the kernel knows."""

    name: str
    """As `server.plugins` names it."""
    distribution: str
    """`mfn-auth-hmac 0.1.0`; for one that is not installed, its import path."""
    plugin: Any = attrs.field(repr=False)
    """The module or object that has the hooks."""


@frozen(kw_only=True)
class Registered:
    """A component that can be configured, and where it is from."""

    kind: ComponentKind
    spec: ComponentSpec
    plugin: str
    """Name of its plugin in `server.plugins`."""
    distribution: str
    """`mfn-auth-hmac 0.1.0`; for a plugin that is not installed, its import path."""


class PluginRegistry:
    """Loads the named plugins and no other, and knows their components by kind and name, and their field models.

    All hooks are called here, once, while the registry is made; `mfn_check` alone is called later, by `check`.
    """

    def __init__(self, names: Sequence[str], *, problems: list[Problem] | None = None) -> None:
        """Load plugins and collect what they declare.

        Args:
            names: each the name of an entry point of the group `mfn.plugins.v1`, or an import path with a dot or a
                colon in it: `package.module`, `package.module:object`.
            problems: takes what is wrong, so that the rest can be judged; unless given, it is raised.

        Raises:
            ConfigError: with the problem of every plugin that is missing or named twice, cannot be imported,
                implements a hook that does not exist or with other arguments, declares something that is no
                `ComponentSpec`, `FieldModel` or `OwnStep`, or declares a component, a model or a step that another one
                has declared.
        """
        self._manager = _manager()
        self._components: dict[ComponentKind, dict[str, Registered]] = {kind: {} for kind in ComponentKind}
        self._models: dict[str, DeclaredModel] = {}
        self._steps: dict[tuple[str, str], BroughtStep] = {}
        self._plugins: dict[str, LoadedPlugin] = {}
        found: list[Problem] = []
        for index, name in enumerate(names):
            try:
                self._add(name)
            except ConfigError as failed:
                found += (attrs.evolve(problem, path=f"server.plugins[{index}]") for problem in failed.problems)
        if problems is not None:
            problems += found
        elif found:
            raise ConfigError(found)
        self._manager.check_pending()

    @property
    def plugins(self) -> Mapping[str, LoadedPlugin]:
        """The plugins by name, in the order in which they were named."""
        return MappingProxyType(self._plugins)

    def component(self, kind: ComponentKind, name: str) -> Registered:
        """The component that a section is of; `grpc/public` is of the component `grpc`.

        Raises:
            ConfigError: no plugin of this registry declares it.
        """
        known = self._components[kind]
        base = name.partition("/")[0]
        if base not in known:
            problem = Problem(
                path=join_path(kind.section, name),
                message=f"no plugin of this server provides {base!r} among its {kind.section}",
                remedy=suggest(base, known) or "name its plugin in server.plugins",
            )
            raise ConfigError([problem])
        return known[base]

    def components(self, kind: ComponentKind) -> Mapping[str, Registered]:
        """The components of one kind by name, in the order in which their plugins were named."""
        return MappingProxyType(self._components[kind])

    @property
    def models(self) -> Mapping[str, DeclaredModel]:
        """The field models of the plugins by name, in the order in which their plugins were named."""
        return MappingProxyType(self._models)

    def register_models(self) -> list[Problem]:
        """Add the field models, and the steps for engines, to those of this process; safe to do twice.

        A model whose name is taken there by a different declaration, such as one of `mfn_model`, is left out, and so is
        a second step of a model for an engine, or one of a model that is not known; what is returned says so.
        """
        return [*register_models(self._models.values()), *register_steps(self._steps.values())]

    def check(self, plan: Plan) -> list[Problem]:
        """What the plugins find wrong with a whole configuration, by their `mfn_check` hooks."""
        problems: list[Problem] = []
        for plugin in self._plugins.values():
            try:
                results = self._call(plugin.plugin, "mfn_check", plan=plan)
                found = [problem for result in results for problem in result or ()]
            except Exception as failed:  # noqa: BLE001 - the defect of one plugin is reported beside the rest
                found = [_hook_failed(plugin, "mfn_check", failed)]
            for problem in found:
                problems.append(problem if isinstance(problem, Problem) else _no_problem(plugin, problem))
        return problems

    @staticmethod
    def installed() -> list[InstalledPlugin]:
        """Every plugin that could be named, by name, from the metadata of what is installed; imports none of them."""
        found = (installed_plugin(entry) for entry in entries())
        return sorted(filter(None, found), key=lambda plugin: (plugin.name, plugin.distribution))

    @staticmethod
    def of_other_versions() -> list[tuple[InstalledPlugin, Problem]]:
        """Plugins that are installed and made for another version of the plugin API, each with what to change."""
        found = ((installed_plugin(entry), made_for_another_version(entry)) for entry in entries_of_other_versions())
        return [(plugin, problem) for plugin, problem in found if plugin is not None]

    # Loading.

    def _add(self, name: str) -> None:
        if name in self._plugins:
            raise _one(f"plugin {name!r} is named twice", "keep one")
        plugin, distribution = _load(name)
        loaded = LoadedPlugin(name=name, distribution=distribution, plugin=plugin)
        for other in self._plugins.values():
            if other.plugin is plugin:
                raise _one(f"plugins {other.name!r} and {name!r} are the same", "keep one")
        _check_hooks(loaded)
        self._manager.register(plugin, name=name)
        self._plugins[name] = loaded
        problems: list[Problem] = []
        for hook, kind in HOOK_KINDS.items():
            if not self._implements(plugin, hook):
                continue
            try:
                specs = _declared(hook, self._call(plugin, hook))
            except Exception as failed:  # noqa: BLE001 - the defect of one plugin is reported beside the rest
                problems.append(_hook_failed(loaded, hook, failed))
                continue
            for spec in specs:
                problems += self._register(kind, hook, spec, loaded)
        if self._implements(plugin, "mfn_models"):
            problems += self._take_models(loaded)
        if self._implements(plugin, "mfn_steps"):
            problems += self._take_steps(loaded)
        if problems:
            raise ConfigError(problems)

    def _take_models(self, plugin: LoadedPlugin) -> Iterable[Problem]:
        try:
            models = _declared("mfn_models", self._call(plugin.plugin, "mfn_models"), "FieldModel")
        except Exception as failed:  # noqa: BLE001 - the defect of one plugin is reported beside the rest
            return [_hook_failed(plugin, "mfn_models", failed)]
        return collect_models(models, plugin.name, _in_full(plugin.name, plugin.distribution), self._models)

    def _take_steps(self, plugin: LoadedPlugin) -> Iterable[Problem]:
        try:
            steps = _declared("mfn_steps", self._call(plugin.plugin, "mfn_steps"), "OwnStep")
        except Exception as failed:  # noqa: BLE001 - the defect of one plugin is reported beside the rest
            return [_hook_failed(plugin, "mfn_steps", failed)]
        return collect_steps(steps, plugin.name, _in_full(plugin.name, plugin.distribution), self._steps)

    def _implements(self, plugin: Any, hook: str) -> bool:
        return any(caller.name == hook for caller in self._manager.get_hookcallers(plugin) or ())

    def _call(self, plugin: Any, hook: str, **arguments: Any) -> list[Any]:
        """Call the hook of one plugin, so that what it returns is known to be its own."""
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        results: list[Any] = self._manager.subset_hook_caller(hook, others)(**arguments)
        return results

    def _register(self, kind: ComponentKind, hook: str, spec: object, plugin: LoadedPlugin) -> Iterable[Problem]:
        if not isinstance(spec, ComponentSpec):
            yield Problem(
                path="",
                message=f"{hook}() of {_in_full(plugin.name, plugin.distribution)} declares "
                f"a {type(spec).__name__}, which is no ComponentSpec",
                remedy="report it to the author of the plugin",
            )
            return
        if not attrs.has(spec.config):
            yield Problem(
                path="",
                message=f"{kind.section}.{spec.name} of {_in_full(plugin.name, plugin.distribution)} has the "
                f"configuration class {spec.config!r}, which is no attrs class",
                remedy="report it to the author of the plugin",
            )
            return
        registered = self._components[kind]
        if (first := registered.get(spec.name)) is not None:
            if first.spec is spec:
                return  # one component that several plugins share, such as the health service of two transports
            yield Problem(
                path="",
                message=f"{kind.section}.{spec.name} is declared by {_in_full(first.plugin, first.distribution)} "
                f"and by {_in_full(plugin.name, plugin.distribution)}",
                remedy="name only one of them in server.plugins",
            )
            return
        registered[spec.name] = Registered(kind=kind, spec=spec, plugin=plugin.name, distribution=plugin.distribution)


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _load(name: str) -> tuple[Any, str]:
    """The plugin's module or object, and its distribution in words."""
    if "." in name or ":" in name:
        distribution = _of_module(name)
        return _import(name, name, distribution), distribution
    named = [entry for entry in entries() if entry.name == name]
    if not named:
        if others := [entry for entry in entries_of_other_versions() if entry.name == name]:
            raise ConfigError([made_for_another_version(entry) for entry in others])
        known = sorted(entry.name for entry in entries())
        raise _one(
            f"no plugin {name!r} is installed",
            suggest(name, known) or f"no distribution here has the entry-point group {hookspecs.ENTRY_POINT_GROUP}",
        )
    if len(named) > 1:
        where = " and ".join(sorted(in_words(entry) for entry in named))
        raise _one(f"plugin {name!r} is provided by {where}", "uninstall one, or name the plugin by its import path")
    return _import(name, named[0].value, in_words(named[0])), in_words(named[0])


def _in_full(name: str, distribution: str) -> str:
    return f"plugin {name!r}" if distribution == name else f"plugin {name!r} ({distribution})"


def _of_module(path: str) -> str:
    """The distribution that a module belongs to, in words; the path itself where none is installed."""
    names = packages_distributions().get(path.partition(":")[0].partition(".")[0], ())
    try:
        return " and ".join(f"{name} {Distribution.from_name(name).version}" for name in sorted(set(names))) or path
    except PackageNotFoundError:
        return path


def _import(name: str, target: str, distribution: str) -> Any:
    module_name, _, attribute = target.partition(":")
    whose = _in_full(name, distribution)
    try:
        found: Any = importlib.import_module(module_name.strip())
    except (Exception, SystemExit) as failed:  # whatever a plugin's module does, the other problems are reported too
        _log.debug("%s cannot be imported", whose, exc_info=True)
        if isinstance(failed, ModuleNotFoundError) and failed.name and _is_within(module_name, failed.name):
            raise _one(
                f"{whose} has no module {failed.name!r}", "check the name, or install the plugin again"
            ) from None
        raise _one(
            f"importing {module_name} of {whose} failed: {type(failed).__name__}: {failed}",
            "install what it needs, or leave it out of server.plugins",
        ) from failed
    for part in filter(None, attribute.strip().split(".")):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _one(f"{whose}: module {module_name} has no {attribute.strip()!r}") from None
    return found


def _is_within(module: str, missing: str) -> bool:
    """Whether the missing module is the plugin's own, or a package that holds it."""
    return module == missing or module.startswith(missing + ".")


def _check_hooks(plugin: LoadedPlugin) -> None:
    """Refuse what pluggy refuses, on a manager of its own: one that a plugin failed on cannot be used again."""
    whose = _in_full(plugin.name, plugin.distribution)
    remedy = "report it to the author of the plugin"
    probe = _manager()
    try:
        probe.register(plugin.plugin, name=plugin.name)
    except pluggy.PluginValidationError as wrong:
        raise _one(f"{whose} implements a hook wrongly: {_one_line(wrong)}", remedy) from wrong
    except ValueError as wrong:
        raise _one(f"{whose} cannot be registered: {_one_line(wrong)}", remedy) from wrong
    problems = []
    try:
        probe.check_pending()
    except pluggy.PluginValidationError:
        for caller in probe.get_hookcallers(plugin.plugin) or ():
            if not caller.has_spec() and not all(hook.optionalhook for hook in caller.get_hookimpls()):
                problems.append(
                    Problem(
                        path="",
                        message=f"{whose} implements the hook {caller.name!r}, which does not exist",
                        remedy=suggest(caller.name, KNOWN_HOOKS),
                    )
                )
    for hook in KNOWN_HOOKS:
        implemented = any(caller.name == hook for caller in probe.get_hookcallers(plugin.plugin) or ())
        if not implemented and callable(getattr(plugin.plugin, hook, None)):
            problems.append(
                Problem(path="", message=f"{hook}() of {whose} is not marked with @hookimpl", remedy=remedy)
            )
    if not problems and not probe.get_hookcallers(plugin.plugin):
        problems.append(Problem(path="", message=f"{whose} implements no hook", remedy=f"{remedy}; is it a plugin?"))
    if problems:
        raise ConfigError(problems)


def _declared(hook: str, results: Sequence[object], what: str = "ComponentSpec") -> list[object]:
    """What one plugin's hook returned; pluggy leaves out a None, which is a forgotten `return`."""
    result = results[0] if results else None
    if isinstance(result, ComponentSpec | str | Mapping) or not isinstance(result, Iterable):
        raise TypeError(f"it must return a sequence of {what}, not {type(result).__name__}")
    return list(result)


def _hook_failed(plugin: LoadedPlugin, hook: str, failed: Exception) -> Problem:
    _log.debug("%s() of plugin %s failed", hook, plugin.name, exc_info=failed)
    return Problem(
        path="server.plugins",
        message=f"{hook}() of {_in_full(plugin.name, plugin.distribution)} failed: "
        f"{type(failed).__name__}: {_one_line(failed)}",
        remedy="report it to the author of the plugin",
    )


def _no_problem(plugin: LoadedPlugin, found: object) -> Problem:
    return Problem(
        path="server.plugins",
        message=f"mfn_check() of {_in_full(plugin.name, plugin.distribution)} gave "
        f"a {type(found).__name__}, which is no Problem",
        remedy="report it to the author of the plugin",
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _one(message: str, remedy: str = "") -> ConfigError:
    return ConfigError([Problem(path="", message=message, remedy=remedy)])
