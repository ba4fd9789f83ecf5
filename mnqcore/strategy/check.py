"""From a file to checked strategies: `load` for one, `check` for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import StrategyError, UsageError, suggest
from mnqcore.strategy import reading
from mnqcore.strategy.build import KEYS, Builder, presumed
from mnqcore.strategy.collect import Collector
from mnqcore.strategy.document import Document, read
from mnqcore.strategy.findings import Finding, InvalidFile
from mnqcore.strategy.overrides import layer
from mnqcore.strategy.pieces import NAME, NAME_HINT
from mnqcore.strategy.resolve import Node, plant, stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnqcore.plugins import Plugins
    from mnqcore.strategy.model import Strategy

_ANCESTORS = 16
_TOP = ("format", "requires", "defaults", "instrument", "strategy")


def load(path: str | Path, name: str | None, plugins: Plugins, overrides: Sequence[str] = ()) -> Strategy:
    """Return one strategy of a file, resolved and checked.

    Args:
        path: the strategy file.
        name: which strategy; None where the file holds one.
        plugins: what is installed.
        overrides: `--set` values, "a.b=value" with keys of a strategy.

    Raises:
        StrategyError: with every finding of the file's head, of the strategy and of the overrides.
        UsageError: the file holds several strategies and none is named, or none of that name.
    """
    book = Book.open(path)
    findings = list(book.head())
    if name is None or book.strategies.get(name) is None:
        if findings and not book.names:
            raise InvalidFile(findings)
        name = book.choose(name)
    above, wrong = layer(overrides)
    strategy, more = book.build(name, plugins, above)
    if strategy is None or findings or wrong or more:
        raise InvalidFile([*findings, *wrong, *more])
    return strategy


def check(path: str | Path, plugins: Plugins, name: str | None = None) -> list[Strategy]:
    """Return every strategy of a file (or the one named), checked; also the defaults and instruments that none uses.

    Raises:
        StrategyError: with every finding in the file.
        UsageError: no strategy of that name.
    """
    book = Book.open(path)
    findings = list(book.head())
    chosen = [book.choose(name)] if name is not None else book.names
    built = [book.build(each, plugins, Node({})) for each in chosen]
    findings += [finding for _, more in built for finding in more]
    if name is None:
        findings += book.unused(plugins)
    if findings:
        raise InvalidFile(findings)
    return [strategy for strategy, _ in built if strategy]


def names(path: str | Path) -> list[str]:
    """Return the names of the strategies in a file, in its order; StrategyError if it cannot be read."""
    return Book.open(path).names


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
            return None, [_found(own, "a strategy must be a table", hint=f"[strategy.{name}]")]
        collect = Collector(own)
        if not NAME.fullmatch(name):
            collect.add(f"a strategy cannot be called {name!r}", own, key=True, hint=NAME_HINT)
        parents = [_without(parent, "extends", "summary") for parent in reversed(self._parents(own, collect))]
        layers = [presumed(), self.defaults, *parents, _without(own, "extends"), above]
        requires = self.document.tree.get("requires", [])
        wanted = tuple(map(str, requires)) if isinstance(requires, list) else ()
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
                message = f"there is no strategy {str(link.value)!r} to extend"
                collect.partial = True  # what is missing may be the parent's
                collect.add(message, link, hint=reading.unknown(str(link.value), others[:20]))
                break
            if parent in chain:
                loop = " -> ".join(str(one.path[-1]) for one in [*chain, parent])
                collect.add(f"'extends' goes round in a circle: {loop}", link, hint="end it at one of them")
                break
            if len(chain) > _ANCESTORS:
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
            yield _found(node, message, hint="[defaults]" if key == "defaults" else f"[{key}.NAME]")
        if key == "defaults" and node is not None:
            for word in ("summary", "extends"):
                if child := node.get(word):
                    yield _found(child, f"{word!r} belongs to a strategy, not into [defaults]", key=True)

    def _requires(self) -> Iterator[Finding]:
        wanted = self.document.tree.get("requires", [])
        if not isinstance(wanted, list):
            yield self.document.finding("requires must be an array", ("requires",), hint='requires = ["mnq>=0.1"]')
            return
        for number, text in enumerate(wanted):
            if wrong := _unmet(text):
                yield self.document.finding(wrong, ("requires", number), hint=_requirement_hint(text))


def _unmet(text: Any) -> str | None:
    """Return why a requirement such as "mnq-x>=1" is not met, or None."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    if not isinstance(text, str):
        return f"a requirement must be a string, was {reading.described(text)}"
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return f"not a requirement: {text!r}"
    if wanted.marker and not wanted.marker.evaluate():
        return None
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return f"this file requires {text}, which is not installed"
    return (
        None
        if wanted.specifier.contains(installed, prereleases=True)
        else f"this file requires {text}; installed is {installed}"
    )


def _requirement_hint(text: Any) -> str:
    wrong = not isinstance(text, str) or "not a requirement" in (_unmet(text) or "")
    return 'requires = ["mnq>=0.1"]' if wrong else f'pip install "{text}"'


def _without(table: Node, *keys: str) -> Node:
    return Node({key: node for key, node in (table.table or {}).items() if key not in keys}, table.source, table.path)


def _found(node: Node, message: str, *, key: bool = False, hint: str | None = None) -> Finding:
    finding = node.find(message, key=key, hint=hint)
    if finding is None:
        raise StrategyError(message)
    return finding
