"""What is known of each plugin: who registered what, what failed and why, what is switched off."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import PluginError
from mnqcore.plugins.blame import place, reason, remedy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@attrs.frozen(kw_only=True)
class Source:
    """One plugin before it is imported.

    `key` is `<distribution>:<entry point>` (of a `-p` file, `<distribution>:<file name>`), `find` imports it, `file` is
    set for a `-p` file, `needs` is the requirement on mnq that this mnq does not meet.
    """

    key: str
    distribution: str
    version: str
    entry: str
    module: str
    find: Callable[[], Any]
    file: Path | None = None
    needs: str | None = None

    @property
    def title(self) -> str:
        """Distribution and version, as users see them."""
        return f"{self.distribution} {self.version}"


@attrs.frozen(kw_only=True)
class Registered:
    """One piece that a strategy can name; `source` is the key of the plugin that registered it.

    `target` is "module:Class" or a class; `ms` the time its import took where the plugin's own import included it.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str | type
    source: str
    ms: float | None = None

    @property
    def title(self) -> str:
        """Kind, name, distribution and version, as users see them."""
        return f"{self.kind} '{self.name}' ({self.distribution} {self.version})"

    def load(self) -> type:
        """Return the class, importing it on first use; PluginError when it does not import or is no `@plugin` class."""
        found = self.target if isinstance(self.target, type) else self._import(self.target)
        if not isinstance(found, type) or not attrs.has(found):
            raise PluginError(
                f"{self.title} is not a class made by @plugin",
                found=f"{self.target} is {type(found).__name__} {getattr(found, '__name__', found)!s}",
                next="put @plugin (from mnqcore) above the class",
            )
        return found

    def _import(self, target: str) -> Any:
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.title} does not import",
                where=place(error, module) or target,
                why=reason(error),
                next=f"{remedy(error, module)}, or: -p no:{self.kind}/{self.name}",
            ) from error


@attrs.frozen(kw_only=True)
class Broken:
    """A plugin that was not loaded; nothing of it is registered.

    `status` is "broken" or the requirement that does not fit ("needs mnq>=1"); `reason` says why, `where` is file:line
    ("" if nothing was imported), `hint` what to do; `pieces` are the (kind, name) it had registered before it failed.
    """

    source: str
    distribution: str
    version: str
    entry: str
    status: str
    reason: str
    where: str
    hint: str
    pieces: tuple[tuple[str, str], ...] = ()

    @property
    def warning(self) -> str:
        """Two lines for stderr."""
        title = f"plugin '{self.entry}' ({self.distribution} {self.version})"
        return f"warning: {title} was not loaded: {self.reason}\n         {self.hint}; details: mnq plugins"

    def provides(self, kind: str, use: str) -> bool:
        """Whether `use` most likely means a piece of this plugin."""
        owner, _, name = use.rpartition(":")
        return owner == self.distribution or (not owner and ((kind, name) in self.pieces or name == self.entry))


@attrs.frozen(kw_only=True)
class Disabled:
    """A distribution (kind and name are "") or a piece that the user switched off, and by what."""

    distribution: str
    version: str
    kind: str = ""
    name: str = ""
    by: str
