"""A strategy file as a whole: its head, its strategies, who extends whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.errors import UsageError, suggest
from mnqcore.strategy import reading
from mnqcore.strategy.build import KEYS, Builder, presumed
from mnqcore.strategy.collect import Collector
from mnqcore.strategy.document import Document, read
from mnqcore.strategy.pieces import NAME, NAME_HINT
from mnqcore.strategy.requirements import HINT, unmet
from mnqcore.strategy.resolve import Node, plant, stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnqcore.plugins import Plugins
    from mnqcore.strategy.findings import Finding
    from mnqcore.strategy.model import Strategy

_ANCESTORS = 16
_TOP = ("format", "requires", "defaults", "instrument", "strategy")


@attrs.frozen
class Book:
    """A strategy file, parsed and planted: what all its strategies share."""

    document: Document
    root: Node

    @classmethod
    def open(cls, path: str | Path) -> Book:
        """Read a file; StrategyError if it is no TOML."""
        document = read(path)
        return cls(document, plant(document.tree, document))

    @property
    def strategies(self) -> Node:
        """The table of strategies, empty where there is none."""
        return self._table("strategy")

    @property
    def defaults(self) -> Node:
        """The table of defaults, without what `head` finds misplaced in it."""
        return _without(self._table("defaults"), "extends", "summary")

    @property
    def names(self) -> list[str]:
        """Names of the strategies, in the order of the file."""
        return list(self.strategies.table or {})

    def choose(self, name: str | None) -> str:
        """Return the name of a strategy that is there; UsageError with what to type otherwise."""
        listed = ", ".join(self.names[:20]) or "none"
        if name is None and len(self.names) == 1:
            return self.names[0]
        if name is None:
            raise UsageError(f"{self.document.name} holds several strategies", found=listed, next="name one with -s")
        if name not in self.names:
            meant = suggest(name, self.names)
            hint = f"did you mean {meant!r}?" if meant else f"strategies: {listed}"
            raise UsageError(f"{self.document.name} holds no strategy named {name!r}", next=hint)
        return name

    def head(self) -> Iterator[Finding]:
        """Yield what is wrong with the file as a whole."""
        tree = self.document.tree
        for key in tree:
            if key not in _TOP:
                hint = reading.unknown(key, list(_TOP))
                hint = f"{key!r} belongs into [defaults] or [strategy.NAME]" if key in KEYS else hint
                yield self.document.finding(f"unknown key {key!r}", (key,), key=True, hint=hint)
        if type(tree.get("format")) is not int or tree["format"] != 1:
            message = "format must be 1" if "format" in tree else "format is missing"
            yield self.document.finding(message, ("format",), hint="write format = 1 at the top")
        yield from self._requires()
        for key in ("defaults", "instrument", "strategy"):
            yield from self._shape(key)
        if not self.names:
            yield self.document.finding("there is no strategy in this file", (), hint="add a table [strategy.NAME]")

    def build(self, name: str, plugins: Plugins, above: Node) -> tuple[Strategy | None, list[Finding]]:
        """Return a strategy, and what is wrong with it; None where something is."""
        own = self.strategies.get(name) or Node({})
        if own.table is None:
            return None, [self._at(own, "a strategy must be a table", hint=f"[strategy.{name}]")]
        collect = Collector(own)
        if not NAME.fullmatch(name):
            collect.add(f"a strategy cannot be called {name!r}", own, key=True, hint=NAME_HINT)
        parents = [_without(parent, "extends", "summary") for parent in reversed(self._parents(own, collect))]
        layers = [presumed(), self.defaults, *parents, _without(own, "extends"), above]
        requires = self.document.tree.get("requires", [])
        wanted = tuple(each for each in requires if isinstance(each, str)) if isinstance(requires, list) else ()
        strategy = Builder(plugins, self._table("instrument"), collect).strategy(name, stack(layers), wanted)
        return strategy, collect.findings

    def unused(self, plugins: Plugins) -> list[Finding]:
        """Return what is wrong with the defaults and the instruments by themselves."""
        defaults, instruments = self.defaults, self._table("instrument")
        collect = Collector(defaults, partial=True)
        if defaults.source:
            Builder(plugins, instruments, collect).strategy("", stack([presumed(), defaults]), ())
        alone = Builder(plugins, instruments, Collector(self.root))
        for name, table in (instruments.table or {}).items():
            if NAME.fullmatch(name):
                alone.instrument(name, table)
            else:
                alone.collect.add(f"an instrument cannot be called {name!r}", table, key=True, hint=NAME_HINT)
        return [*collect.findings, *alone.collect.findings]

    def _parents(self, own: Node, collect: Collector) -> list[Node]:
        """Return the parents of a strategy, nearest first; a wrong `extends` ends the chain with a finding."""
        chain = [own]
        while (link := chain[-1].get("extends")) is not None:
            parent = self.strategies.get(link.value) if isinstance(link.value, str) else None
            if parent is None or parent.table is None:
                others = [name for name in self.names if self.strategies.get(name) is not chain[-1]]
                wanted = reading.described(link.value).removesuffix(" (a string)")
                collect.partial = True  # what is missing may be the parent's
                hint = reading.unknown(wanted.strip("'"), others[:20])
                collect.add(f"there is no strategy {wanted} to extend", link, hint=hint)
                break
            if parent in chain:
                loop = " -> ".join(str(one.path[-1]) for one in [*chain, parent])
                collect.partial = True
                collect.add(f"'extends' goes round in a circle: {loop}", link, hint="end it at one of them")
                break
            if len(chain) > _ANCESTORS:
                collect.partial = True
                collect.add(f"more than {_ANCESTORS} strategies extend one another", link)
                break
            chain.append(parent)
        return chain[1:]

    def _table(self, key: str) -> Node:
        node = self.root.get(key)
        return node if node is not None and node.table is not None else Node({})

    def _shape(self, key: str) -> Iterator[Finding]:
        node = self.root.get(key)
        if node is not None and node.table is None:
            message = f"{key} must be a table, was {reading.described(node.value)}"
            yield self._at(node, message, hint="[defaults]" if key == "defaults" else f"[{key}.NAME]")
        if key == "defaults" and node is not None:
            for word in ("summary", "extends"):
                if child := node.get(word):
                    yield self._at(child, f"{word!r} belongs to a strategy, not into [defaults]", key=True)

    def _requires(self) -> Iterator[Finding]:
        wanted = self.document.tree.get("requires", [])
        if not isinstance(wanted, list):
            message = f"requires must be an array, was {reading.described(wanted)}"
            yield self.document.finding(message, ("requires",), hint=HINT)
            return
        for number, text in enumerate(wanted):
            if wrong := unmet(text):
                yield self.document.finding(wrong[0], ("requires", number), hint=wrong[1])

    def _at(self, node: Node, message: str, *, key: bool = False, hint: str | None = None) -> Finding:
        return self.document.finding(message, node.path, key=key, hint=hint)


def _without(table: Node, *keys: str) -> Node:
    return Node({key: node for key, node in (table.table or {}).items() if key not in keys}, table.source, table.path)
