"""The layers of a strategy, merged: defaults < parents < own < `--set`, each value remembering where it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnqcore.strategy.document import Source
    from mnqcore.strategy.findings import Finding
    from mnqcore.strategy.places import Path

_FORMS = (frozenset(["per_contract"]), frozenset(["percent", "minimum"]))


@attrs.frozen(eq=False)
class Node:
    """A value or a table of nodes, and where it was written; `source` is None for what mnq itself presumes."""

    value: Any
    source: Source | None = None
    path: Path = ()

    @property
    def table(self) -> dict[str, Node] | None:
        """Key -> node of a table; None for a plain value."""
        return self.value if isinstance(self.value, dict) else None

    def get(self, key: str) -> Node | None:
        """Return the node under a key; None if it is missing or this is no table."""
        return (self.table or {}).get(key)

    @property
    def origin(self) -> str:
        """Where it was written: "strategies.toml:12", "--set seed=3"; "default" if nowhere."""
        line = self.source.line(self.path) if self.source else None
        label = self.source.origin if self.source else "default"
        return label if line is None else f"{label}:{line}"

    def plain(self) -> Any:
        """Return the value without its origins."""
        return {key: node.plain() for key, node in self.table.items()} if self.table is not None else self.value

    def find(self, message: str, keys: Path = (), *, key: bool = False, hint: str | None = None) -> Finding | None:
        """Return a finding at a value below this table, or at the nearest that was written; None if nothing was."""
        node, deeper = self, list(keys)
        while deeper and isinstance(deeper[0], str) and (child := node.get(deeper[0])) and child.source:
            node = child
            deeper.pop(0)
        path = (*node.path, *deeper)
        return node.source.finding(message, path, key=key, hint=hint) if node.source else None


def plant(value: Any, source: Source | None = None, path: Path = ()) -> Node:
    """Return plain values as nodes that remember a source."""
    if isinstance(value, dict):
        value = {key: plant(item, source, (*path, key)) for key, item in value.items()}
    return Node(value, source, path)


def stack(layers: Iterable[Node]) -> Node:
    """Return layers merged, each over those before it."""
    merged = Node({})
    for layer in layers:
        merged = lay(merged, layer)
    return merged


def lay(below: Node, above: Node, *, displace: bool = True) -> Node:
    """Return one layer over another: tables merge key by key, anything else is replaced.

    A table whose `use` differs from the one below replaces it whole, so that no parameter leaks (`displace`).
    """
    if below.table is None or above.table is None or (displace and _differs(below.table, above.table)):
        return above
    merged = dict(below.table)
    for key, node in above.table.items():
        merged[key] = lay(merged[key], node, displace=displace) if key in merged else node
    return Node(merged, above.source, above.path)


def _differs(below: dict[str, Node], above: dict[str, Node]) -> bool:
    if "use" in above:
        return "use" not in below or below["use"].value != above["use"].value
    forms = [form & table.keys() for table in (below, above) for form in _FORMS]  # the two ways to write a commission
    return bool((forms[0] and forms[3]) or (forms[1] and forms[2]))
