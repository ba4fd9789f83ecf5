"""Reads the tables that name a plugin: which one, and its parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.errors import PluginError
from mnqcore.strategy import reading
from mnqcore.strategy.model import Choice

if TYPE_CHECKING:
    from mnqcore.plugins import Plugins, Registered
    from mnqcore.strategy.collect import Collector
    from mnqcore.strategy.resolve import Node

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
"""What may name a strategy, an instrument or a feature set: it becomes a folder, or part of a column's name."""
NAME_HINT = "letters, digits, - and _, at most 64"
DROPPED = "none"
"""The `use` of a feature set that a layer above wants no more."""


@attrs.frozen
class Pieces:
    """Finds and reads the plugins of one strategy."""

    plugins: Plugins
    collect: Collector

    def choice(self, kind: str, node: Node | None, table: str) -> Choice | None:
        """Return the plugin that a table names, with its parameters; None where there is none, or a finding."""
        if node is None:
            if kind == "agent" and not self.collect.partial:
                self.collect.add("a strategy must name its agent", self.collect.at, key=True, hint=f"mnq list {kind}")
            return None
        if node.table is None:
            hint = f'{table} = {{ use = "{node.value}" }}' if isinstance(node.value, str) else None
            self.collect.add(f"{table} must be a table, was {reading.described(node.value)}", node, hint=hint)
            return None
        piece = self._piece(kind, node, table)
        return self._with_parameters(piece, node, table) if piece else None

    def features(self, node: Node | None) -> dict[str, Choice]:
        """Return the feature sets by name, without those that are dropped."""
        if node is not None and node.table is None:
            message = f"features must be tables, one a set, was {reading.described(node.value)}"
            self.collect.add(message, node, hint='features.NAME = { use = "..." }')
        found = {}
        for name, child in (node.table or {}).items() if node else ():
            use = child.get("use")
            if not NAME.fullmatch(name):
                self.collect.add(f"a feature set cannot be called {name!r}", child, key=True, hint=NAME_HINT)
            elif use and use.value == DROPPED:
                self._nothing_else(child, name)
            elif choice := self.choice("features", child, f"features.{name}"):
                found[name] = choice
        return found

    def together(self, sizer: Choice | None, bracket: Choice | None, node: Node | None) -> None:
        """Find a sizer that needs a stop beside a bracket that sets none; `node` is the sizer's table."""
        if not sizer or not bracket or getattr(bracket.cls, "protects", True):
            return
        if getattr(sizer.cls, "needs_stop", False):
            message = f"sizer '{sizer.use}' needs the distance to a stop, and bracket '{bracket.use}' sets none"
            hint = 'take another bracket, or sizer = { use = "fixed" }'
            self.collect.add(message, node or self.collect.at, ("use",), hint=hint)

    def _piece(self, kind: str, node: Node, table: str) -> Registered | None:
        use = node.get("use")
        if use is None:
            self.collect.add(f"{table} does not say which: it needs use", node, key=True, hint=f"mnq list {kind}")
            return None
        if not isinstance(use.value, str):
            self.collect.add(f"use must be a string, was {reading.described(use.value)}", use, hint=f"mnq list {kind}")
            return None
        try:
            return self.plugins.find(kind, use.value)
        except PluginError as error:
            broken = any(one.provides(kind, use.value) for one in self.plugins.broken)
            self.collect.add(_sentence(error), use, hint=error.facts.get("next"), by_plugin=broken)
            return None

    def _with_parameters(self, piece: Registered, node: Node, table: str) -> Choice | None:
        cls = self._class(piece, node)
        values = {key: value for key, value in node.plain().items() if key != "use"}
        owner = f"{piece.kind} '{piece.name}'"
        if cls is None or (made := self.collect.read(cls, values, node, owner)) is None:
            return None
        self.collect.note(cls, node, table)
        self.collect.written[f"{table}.use"] = use = node.table["use"]  # type: ignore[index] # `_piece` saw to it
        try:
            params = {name: reading.canonical(one, getattr(made, name)) for name, one in parameters(cls).items()}
        except ValueError as error:
            self.collect.add(f"{piece.title} is not sound: {error}", use, by_plugin=True)
            return None
        return Choice(
            kind=piece.kind,
            use=use.value,
            distribution=piece.distribution,
            version=piece.version,
            params=params,
            cls=cls,
        )

    def _class(self, piece: Registered, node: Node) -> type | None:
        """Return the class of a piece, once its declaration is seen to be sound; it is an outsider's."""
        try:
            cls = piece.load()
            for parameter in parameters(cls).values():
                reading.settable(parameter)
        except Exception as error:
            text = _sentence(error) if isinstance(error, PluginError) else f"{piece.title} is not sound: {error}"
            hint = error.facts.get("next") if isinstance(error, PluginError) else None
            self.collect.add(text, node, ("use",), hint=hint, by_plugin=True)
            return None
        return cls

    def _nothing_else(self, node: Node, name: str) -> None:
        for key in node.table or {}:
            if key != "use":
                message = f'features.{name} is dropped by use = "none": {key!r} means nothing'
                self.collect.unknown(node, (key,), message, "remove it")


def _sentence(error: PluginError) -> str:
    facts = [error.facts[label] for label in ("where", "why", "found") if label in error.facts]
    return f"{error.what}: {'; '.join(facts)}" if facts else error.what
