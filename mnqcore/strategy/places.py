"""Where each key and value of a TOML text stands, from tree-sitter's grammar.

The parser that reads the values (tomli) forgets places; this one finds them. It is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs
import tomli

from mnqcore.strategy.findings import Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tree_sitter import Node

    Path = tuple[str | int, ...]

_DEEPEST = 64
_KEYS = ("bare_key", "quoted_key", "dotted_key")


@attrs.frozen
class Place:
    """Where a key and its value stand; a table header has no value."""

    key: Span
    value: Span | None = None


def index(text: str) -> dict[Path, Place]:
    """Return path -> place of every key, array item and table header of a text that is valid TOML."""
    import tree_sitter
    import tree_sitter_toml

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language()))
    places: dict[Path, Place] = {}
    _Walk(text.split("\n"), places).document(parser.parse(text.encode()).root_node)
    return places


class _Walk:
    """One pass over a syntax tree; fills `places`."""

    def __init__(self, lines: list[str], places: dict[Path, Place]) -> None:
        self.lines = lines
        self.places = places
        self.seen: dict[Path, int] = {}
        self.row, self.offsets = -1, cast("Sequence[int]", ())

    def document(self, root: Node) -> None:
        for node in root.named_children:
            if node.type == "pair":
                self.pair(node, ())
            elif node.type in ("table", "table_array_element"):
                self.table(node)

    def table(self, node: Node) -> None:
        parts = node.named_children
        if not parts or parts[0].type not in _KEYS:
            return
        path: Path = self._in_arrays(_path(parts[0]))
        if node.type == "table_array_element":
            self.seen[path] = self.seen.get(path, -1) + 1
            path = (*path, self.seen[path])
        self._enter(path, Place(self.span(parts[0])))
        for child in parts[1:]:
            if child.type == "pair":
                self.pair(child, path)

    def pair(self, node: Node, above: Path) -> None:
        parts = [child for child in node.named_children if child.type != "comment"]
        if len(parts) < 2 or len(above) > _DEEPEST:
            return
        path = above + _path(parts[0])
        place = Place(self.span(parts[0]), self.span(parts[1]))
        self._enter(path, place, len(above))
        self.value(parts[1], path)

    def value(self, node: Node, path: Path) -> None:
        if node.type == "inline_table":
            for child in node.named_children:
                if child.type == "pair":
                    self.pair(child, path)
        elif node.type == "array" and len(path) <= _DEEPEST:
            items = [child for child in node.named_children if child.type not in ("comment", "ERROR")]
            for number, child in enumerate(items):
                span = self.span(child)
                self.places[*path, number] = Place(span, span)
                self.value(child, (*path, number))

    def span(self, node: Node) -> Span:
        row, start = node.start_point
        columns = self.columns(row)
        end = node.end_point[1] if node.end_point[0] == row else len(columns) - 1
        return Span(row + 1, columns[start] + 1, max(1, columns[end] - columns[start]))

    def columns(self, row: int) -> Sequence[int]:
        """Return byte offset -> character offset of a line; nodes come line by line, so the last one is kept."""
        if row != self.row:
            line = self.lines[row]
            widths = () if line.isascii() else (len(char.encode()) for char in line)
            counts = (number for number, width in enumerate(widths) for _ in range(width))
            self.row, self.offsets = row, range(len(line) + 1) if line.isascii() else [*counts, len(line)]
        return self.offsets

    def _in_arrays(self, path: Path) -> Path:
        """Return the path with the number of the current element behind each array of tables that it passes."""
        real: Path = ()
        for part in path[:-1]:
            real = (*real, part)
            if real in self.seen:
                real = (*real, self.seen[real])
        return (*real, path[-1])

    def _enter(self, path: Path, place: Place, above: int = 0) -> None:
        for length in range(above + 1, len(path)):
            self.places.setdefault(path[:length], Place(place.key))
        self.places[path] = place


def _path(node: Node) -> tuple[str, ...]:
    text = (node.text or b"").decode()
    return (text,) if node.type == "bare_key" else tuple(key_parts(text))


def key_parts(text: str) -> Iterator[str]:
    """Yield the parts of a dotted key as TOML reads it: `a."b.c"` is a, b.c. ValueError if it is none."""
    tree = tomli.loads(f"{text} = 0")
    while isinstance(tree, dict):
        (part, tree), *_ = tree.items()
        yield part
