"""Reads the tables with `use`: which plugin or which split, and its parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.errors import PluginError
from mnqcore.strategy import reading
from mnqcore.strategy.model import Choice
from mnqcore.strategy.resolve import Node
from mnqcore.strategy.settings import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqcore.plugins import Plugins, Registered
    from mnqcore.strategy.collect import Collector
    from mnqcore.strategy.settings import Split

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
"""What may name a strategy, an instrument or a feature set: it becomes a folder, or part of a column's name."""
NAME_HINT = "letters, digits, - and _, at most 64"
DROPPED = "none"
"""The `use` of a feature set, of a feed or of alerts, that a layer above wants no more."""


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
        use = self._use(node, table, f"mnq list {kind}")
        piece = self._piece(kind, use) if use else None
        return self._with_parameters(piece, node, table) if piece else None

    def split(self, node: Node) -> Split | None:
        """Return how the bars are parted; None where that has a finding."""
        split: Split | None = self.known(SPLITS, node, "split", "split")
        return split

    def known(self, classes: Mapping[str, type], node: Node, table: str, word: str) -> Any:
        """Return an instance of one of the core's own classes, `use` -> class; None where that has a finding."""
        if (use := self._use(node, table, f"known: {', '.join(classes)}")) is None:
            return None
        if (cls := classes.get(use.value)) is None:
            self.collect.add(f"no {word} named {use.value!r}", use, hint=reading.unknown(use.value, list(classes)))
            return None
        self.collect.note(cls, node, table)
        self.collect.written[f"{table}.use"] = use
        return self.collect.read(cls, _without_use(node), node, f"{word} '{use.value}'")

    def features(self, node: Node | None, feeds: Node | None) -> dict[str, Choice]:
        """Return the feature sets by name, without those dropped; `feeds` is the table of what they are on."""
        sets = self.named(node, "features", "a feature set", "one a set")
        known = [name for name, child in ((feeds.table or {}) if feeds else {}).items() if not _dropped(child)]
        found = {name: self._features(child, f"features.{name}", known) for name, child in sets.items()}
        return {name: choice for name, choice in found.items() if choice}

    def _features(self, node: Node, table: str, feeds: list[str]) -> Choice | None:
        """Return a feature set; `on` is no parameter of the plugin, but says on which feed it is computed."""
        on = node.get("on")
        if on is None or node.table is None:
            return self.choice("features", node, table)
        rest = Node({key: child for key, child in node.table.items() if key != "on"}, node.source, node.path)
        choice, feed = self.choice("features", rest, table), self._feed(on, feeds)
        if choice is None or feed is None:
            return None
        self.collect.written[f"{table}.on"] = on
        return attrs.evolve(choice, on=feed)

    def _feed(self, node: Node, feeds: list[str]) -> str | None:
        try:
            name = str(reading.typed(node.value, str))
        except reading.Refusal as refusal:
            self.collect.add(f"on {refusal}", node, hint='on = "hourly", the name of a feed')
            return None
        if name not in feeds and not self.collect.partial:
            hint = reading.unknown(name, feeds) if feeds else f'feeds.{name} = {{ bar_size = "1 hour" }}'
            self.collect.add(f"there is no feed named {name!r}", node, hint=hint)
            return None
        return name

    def named(self, node: Node | None, table: str, word: str, each: str) -> dict[str, Node]:
        """Return the tables of a table by their names, without those that are dropped.

        `word` is how one of them is called, `each` how they are told apart.
        """
        if node is not None and node.table is None:
            message = f"{table} must be tables, {each}, was {reading.described(node.value)}"
            self.collect.add(message, node, hint=f'{table}.NAME = {{ use = "..." }}')
        found = {}
        for name, child in (node.table or {}).items() if node else ():
            if not NAME.fullmatch(name):
                self.collect.add(f"{word} cannot be called {name!r}", child, key=True, hint=NAME_HINT)
            elif _dropped(child):
                self._nothing_else(child, f"{table}.{name}")
            else:
                found[name] = child
        return found

    def together(self, sizer: Choice | None, bracket: Choice | None, node: Node | None) -> None:
        """Find a sizer that needs a stop beside a bracket that sets none; `node` is the sizer's table."""
        if not sizer or not bracket or getattr(bracket.cls, "protects", True):
            return
        if getattr(sizer.cls, "needs_stop", False):
            message = f"sizer '{sizer.use}' needs the distance to a stop, and bracket '{bracket.use}' sets none"
            hint = 'take another bracket, or sizer = { use = "fixed" }'
            self.collect.add(message, node or self.collect.at, ("use",), hint=hint)

    def seeing(self, agent: Choice | None, merged: Node) -> None:
        """Find a learner to which a strategy gives nothing to look at."""
        if self.collect.partial or not agent or not agent.learns:
            return
        features = merged.get("features")
        sets = (features.table or {}) if features else {}
        if all(map(_dropped, sets.values())):
            message = f"agent '{agent.use}' needs features to look at"
            self.collect.add(message, merged, ("agent", "use"), hint='features.NAME = { use = "returns" }')

    def _use(self, node: Node, table: str, hint: str) -> Node | None:
        """Return what a table says to use, a string; None where there is a finding. `hint`: what could be used."""
        use = node.get("use")
        if node.table is None:
            short = f'{table} = {{ use = "{node.value}" }}' if isinstance(node.value, str) else None
            self.collect.add(f"{table} must be a table, was {reading.described(node.value)}", node, hint=short)
        elif use is None:
            self.collect.add(f"{table} does not say which: it needs use", node, key=True, hint=hint)
        elif not isinstance(use.value, str):
            self.collect.add(f"use must be a string, was {reading.described(use.value)}", use, hint=hint)
        else:
            return use
        return None

    def _piece(self, kind: str, use: Node) -> Registered | None:
        try:
            return self.plugins.find(kind, use.value)
        except PluginError as error:
            broken = any(one.provides(kind, use.value) for one in self.plugins.broken)
            self.collect.add(_sentence(error), use, hint=error.facts.get("next"), by_plugin=broken)
            return None

    def _with_parameters(self, piece: Registered, node: Node, table: str) -> Choice | None:
        cls = self._class(piece, node)
        owner = f"{piece.kind} '{piece.name}'"
        if cls is None or (made := self.collect.read(cls, _without_use(node), node, owner)) is None:
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

    def _nothing_else(self, node: Node, table: str) -> None:
        for key in node.table or {}:
            if key != "use":
                message = f'{table} is dropped by use = "none": {key!r} means nothing'
                self.collect.unknown(node, (key,), message, "remove it")


def _dropped(node: Node) -> bool:
    use = node.get("use")
    return use is not None and use.value == DROPPED


def _without_use(node: Node) -> dict[str, Any]:
    return {key: value for key, value in node.plain().items() if key != "use"}


def _sentence(error: PluginError) -> str:
    facts = [error.facts[label] for label in ("where", "why", "found") if label in error.facts]
    return f"{error.what}: {'; '.join(facts)}" if facts else error.what
