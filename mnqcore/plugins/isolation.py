"""Loads one plugin so that whatever it does wrong stays with it."""

from __future__ import annotations

import inspect
import re
import time
from typing import TYPE_CHECKING, Any

from mnqcore import hookspecs
from mnqcore.errors import suggest
from mnqcore.hookspecs import HOOK_KINDS, OBSERVERS
from mnqcore.plugins.blame import Refused, place, reason, remedy
from mnqcore.plugins.discovery import core_version
from mnqcore.plugins.records import Broken, Registered, Source

if TYPE_CHECKING:
    from pluggy import HookImpl, PluginManager

_NAME = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def admit(manager: PluginManager, source: Source, earlier: list[Registered]) -> tuple[list[Registered], Broken | None]:
    """Import a plugin and call its `register_...` hooks; return its pieces, or what is wrong after undoing it all.

    `earlier` are the pieces of the plugins before it: one distribution must not register a name twice.
    """
    if source.needs is not None:
        return [], _broken(
            source, f"needs {source.needs}", f"mnq {core_version()} is installed", "", _upgrade(source), []
        )
    pieces: list[Registered] = []
    try:
        started = time.perf_counter()
        plugin = source.find()
        spent = (time.perf_counter() - started) * 1e3
        _check_hooks(manager, plugin, source)
        manager.register(plugin, name=source.key)
        _call_register_hooks(manager, source, pieces, spent)
        _check_twice(pieces, earlier)
    except (Exception, SystemExit) as error:
        if manager.has_plugin(source.key):
            manager.unregister(name=source.key)
        return [], _failed(source, error, pieces)
    return pieces, None


def _check_hooks(manager: PluginManager, plugin: Any, source: Source) -> None:
    """Refuse misspelt hooks, arguments and wrappers before pluggy sees them: it would leave half of a plugin behind."""
    names = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    if not names:
        raise Refused(f"no hook found in {source.module}: is @hookimpl missing?")
    for name in names:
        function = getattr(plugin, name)
        if name not in (known := [*HOOK_KINDS, *OBSERVERS]):
            raise Refused(f"unknown hook '{name}'{_did_you_mean(name, known)}", function)
        options = manager.parse_hookimpl_opts(plugin, name)
        if options and (options["wrapper"] or options["hookwrapper"]):
            raise Refused(f"hook '{name}' is a wrapper: hooks of mnq cannot be wrapped", function)
        expected = list(inspect.signature(getattr(hookspecs, name)).parameters)
        for argument in inspect.signature(function).parameters:
            if argument not in expected:
                raise Refused(f"hook '{name}' has no argument '{argument}': it has {', '.join(expected)}", function)


def _call_register_hooks(manager: PluginManager, source: Source, pieces: list[Registered], spent: float) -> None:
    for hook, kind in HOOK_KINDS.items():
        for implementation in implementations(manager, hook):
            if implementation.plugin_name == source.key:
                call(implementation, {"register": _register(source, kind, pieces, spent)})


def _check_twice(pieces: list[Registered], earlier: list[Registered]) -> None:
    taken = {(piece.distribution, piece.kind, piece.name): piece.source for piece in earlier}
    for piece in pieces:
        if owner := taken.get((piece.distribution, piece.kind, piece.name)):
            raise Refused(f"{piece.kind} '{piece.name}' is registered by {owner} already")


def implementations(manager: PluginManager, hook: str) -> list[HookImpl]:
    """Return who implements a hook, in the order of loading."""
    found: list[HookImpl] = getattr(manager.hook, hook).get_hookimpls()
    return found


def call(implementation: HookImpl, arguments: dict[str, Any]) -> None:
    """Call one implementation with the arguments that it takes."""
    implementation.function(*[arguments[name] for name in implementation.argnames])


def _register(source: Source, kind: str, pieces: list[Registered], spent: float) -> hookspecs.Register:
    def register(name: str, target: str | type) -> None:
        if complaint := _complaint(kind, name, target, pieces):
            raise Refused(complaint)
        pieces.append(
            Registered(
                kind=kind,
                name=name,
                distribution=source.distribution,
                version=source.version,
                target=target,
                source=source.key,
                ms=spent if isinstance(target, type) else None,
            )
        )

    return register


def _complaint(kind: str, name: object, target: object, pieces: list[Registered]) -> str | None:
    """Why register(name, target) is refused, or None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"a {kind} cannot be named {name!r}: use lower-case words joined by dashes"
    if kind == "features" and name == "none":
        return "features cannot be named 'none': in a strategy file that drops a feature set"
    if any((piece.kind, piece.name) == (kind, name) for piece in pieces):
        return f"{kind} '{name}' is registered twice"
    if isinstance(target, type) or (isinstance(target, str) and _TARGET.fullmatch(target)):
        return None
    return f"{kind} '{name}' must be a class or 'module:Class', was {target!r}"


def _failed(source: Source, error: BaseException, pieces: list[Registered]) -> Broken:
    where = place(error, source.module, source.file)
    if source.file:
        hint = f"mend {source.file.name}, or leave out its -p"
    else:
        hint = f"{remedy(error, source.module)}, or: -p no:{source.distribution}"
    return _broken(source, "broken", reason(error), where, hint, pieces)


def _broken(source: Source, status: str, why: str, where: str, hint: str, pieces: list[Registered]) -> Broken:
    return Broken(
        source=source.key,
        distribution=source.distribution,
        version=source.version,
        entry=source.entry,
        status=status,
        reason=why,
        where=where,
        hint=hint,
        pieces=tuple((piece.kind, piece.name) for piece in pieces),
    )


def _upgrade(source: Source) -> str:
    return f"pip install --upgrade {source.distribution} mnq, or: -p no:{source.distribution}"


def _did_you_mean(word: str, known: list[str]) -> str:
    meant = suggest(word, known)
    return f": did you mean '{meant}'?" if meant else ""
