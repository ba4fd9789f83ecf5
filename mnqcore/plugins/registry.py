"""What `load()` returns: every piece by kind and name, and the hooks that watch a run, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from packaging.utils import canonicalize_name

from mnqcore.api.contracts import KINDS
from mnqcore.errors import PluginError, UsageError, suggest
from mnqcore.plugins.blame import place, reason
from mnqcore.plugins.isolation import call, implementations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pluggy import PluginManager

    from mnqcore.plugins.records import Broken, Disabled, Registered, Source


@attrs.define(kw_only=True)
class Plugins:
    """The plugins of one command; made by `mnqcore.plugins.load()`.

    `registered` is in order of loading, `broken` were refused or failed, `disabled` were switched off, `files` are the
    `-p` files, `sources` maps a plugin's key -> what is known of it.
    """

    registered: list[Registered]
    broken: list[Broken]
    disabled: list[Disabled]
    files: tuple[Path, ...]
    sources: dict[str, Source]
    _manager: PluginManager

    @property
    def switched_off(self) -> list[str]:
        """The `-p no:...` values that these plugins were loaded with."""
        return [one.by.removeprefix("-p ") for one in self.disabled if one.by.startswith("-p no:")]

    def names(self, kind: str) -> list[str]:
        """Return the names registered for a kind, sorted; UsageError when there is no such kind."""
        _check_kind(kind)
        return sorted({piece.name for piece in self.registered if piece.kind == kind})

    def find(self, kind: str, use: str) -> Registered:
        """Return the piece that `use` ("name" or "distribution:name") means.

        PluginError when it is missing (with a suggestion), broken (with the reason), switched off, or ambiguous
        (naming every distribution that has it).
        """
        matches = self.matching(kind, use)
        if not matches:
            raise self._missing(kind, use)
        if len(matches) > 1:
            raise _ambiguous(kind, use, matches)
        return matches[0]

    def matching(self, kind: str, use: str) -> list[Registered]:
        """Return every piece that `use` may mean; UsageError when there is no such kind."""
        _check_kind(kind)
        return [piece for piece in self.registered if piece.kind == kind and _means(use, piece)]

    def advice(self, kind: str, use: str) -> str:
        """Return what to do about an unknown name: a suggestion, or the command that lists what there is."""
        owners = {f"{piece.distribution}:{piece.name}" for piece in self.registered if piece.kind == kind}
        meant = suggest(use, sorted(owners) if ":" in use else self.names(kind))
        return f"did you mean '{meant}'? (mnq list {kind})" if meant else f"mnq list {kind}"

    def run_started(self, run: Any) -> None:
        """Tell every observer that a run has begun; PluginError naming the first that raised, after calling all."""
        self._tell("run_started", run=run)

    def trade_closed(self, run: Any, trade: Mapping[str, Any]) -> None:
        """Tell every observer of a round trip; errors as in `run_started`."""
        self._tell("trade_closed", run=run, trade=trade)

    def alert(self, run: Any, level: str, message: str) -> None:
        """Tell every observer what a person should look at; errors as in `run_started`."""
        self._tell("alert", run=run, level=level, message=message)

    def run_finished(self, run: Any, result: Any) -> None:
        """Tell every observer that a run has ended well; errors as in `run_started`."""
        self._tell("run_finished", run=run, result=result)

    @property
    def observed(self) -> frozenset[str]:
        """The observing hooks that anyone implements: a caller may skip the work of telling nobody."""
        from mnqcore.hookspecs import OBSERVERS

        return frozenset(hook for hook in OBSERVERS if implementations(self._manager, hook))

    def _tell(self, hook: str, **arguments: Any) -> None:
        first: tuple[BaseException, Source] | None = None
        for implementation in implementations(self._manager, hook):
            try:
                call(implementation, arguments)
            except (Exception, SystemExit) as error:
                first = first or (error, self.sources[implementation.plugin_name])
        if first:
            raise _raised(hook, first[1], first[0]) from first[0]

    def _missing(self, kind: str, use: str) -> PluginError:
        for broken in self.broken:
            if broken.provides(kind, use):
                return PluginError(
                    f"{kind} '{use}' cannot be used: plugin {broken.distribution} {broken.version} was not loaded",
                    where=broken.where or broken.source,
                    why=broken.reason,
                    next=broken.hint,
                )
        for off in self.disabled:
            if (off.kind, off.name) == (kind, use.rpartition(":")[2]) or off.distribution == use.rpartition(":")[0]:
                return PluginError(f"{kind} '{use}' is switched off", found=f"{off.distribution}: {off.by}")
        return PluginError(f"no {kind} named '{use}' is installed", **self._unloaded(), next=self.advice(kind, use))

    def _unloaded(self) -> dict[str, str]:
        titles = [f"{broken.distribution} {broken.version} was not loaded" for broken in self.broken]
        return {"found": "; ".join(titles)} if titles else {}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        meant = suggest(kind, KINDS)
        hint = f"did you mean '{meant}'? " if meant else ""
        raise UsageError(f"there is no kind '{kind}'", next=f"{hint}kinds: {' '.join(KINDS)}")


def _means(use: str, piece: Registered) -> bool:
    owner, _, name = use.rpartition(":")
    return name == piece.name and (not owner or canonicalize_name(owner) == piece.distribution)


def _ambiguous(kind: str, use: str, matches: list[Registered]) -> PluginError:
    owners = " and ".join(f"{piece.distribution} {piece.version}" for piece in matches)
    choices = " or ".join(f'use = "{piece.distribution}:{piece.name}"' for piece in matches)
    return PluginError(f"{kind} '{use}' is registered by {owners}", next=f"write {choices}")


def _raised(hook: str, source: Source, error: BaseException) -> PluginError:
    return PluginError(
        f"plugin '{source.entry}' raised in {hook}",
        where=place(error, source.module, source.file) or source.module,
        why=reason(error),
        who=source.title,
        next="mend it, or leave out its -p" if source.file else f"mend it, or: -p no:{source.distribution}",
    )
