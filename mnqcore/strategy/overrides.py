"""`--set a.b=value`: a TOML value, or a bare word where the field is a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import tomli

from mnqcore.strategy.document import DEEPEST, deeper
from mnqcore.strategy.findings import Finding
from mnqcore.strategy.places import key_parts
from mnqcore.strategy.resolve import Node, lay, plant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.strategy.places import Path


@attrs.frozen
class Given:
    """A value from the command line: as TOML (None if it is not TOML), and as it was typed."""

    typed: str
    value: Any = None


@attrs.frozen(eq=False)
class Override:
    """One `--set`, the source of its values; `number` is its position on the command line."""

    text: str
    number: int

    @property
    def origin(self) -> str:
        """As it was typed."""
        return f"--set {self.text}"

    def line(self, path: Path) -> int | None:
        """Return None: a command line has no lines."""
        return None

    def finding(self, message: str, path: Path, *, key: bool = False, hint: str | None = None) -> Finding:
        """Return a finding placed at the whole `--set`."""
        return Finding(message, self.origin, hint=hint, order=self.number + 1)


def layer(overrides: Sequence[str]) -> tuple[Node, list[Finding]]:
    """Return all overrides as one layer, a later one over an earlier, and what could not be read."""
    merged, findings = Node({}), []
    for number, text in enumerate(overrides):
        source = Override(text, number)
        tree = _tree(source)
        if isinstance(tree, Finding):
            findings.append(tree)
        else:
            merged = lay(merged, tree, displace=False)
    return merged, findings


def _tree(source: Override) -> Node | Finding:
    left, equals, typed = source.text.partition("=")
    try:
        parts = tuple(key_parts(left.strip(" ")))
    except (ValueError, RecursionError):
        parts = ()
    if not equals or not parts or "\n" in left:
        return source.finding("not of the form key=value", (), hint="for instance --set bracket.stop_ticks=100")
    if len(parts) > 8 or not _unicode(source.text):
        return source.finding("not a key of a strategy", ())
    if parts[0] == "extends":
        return source.finding("'extends' is settled in the file", (), hint="name another strategy with -s")
    return _nest(parts, source, given(typed, text=parts[-1] == "use"))


def given(typed: str, *, text: bool = False) -> Given:
    """Return what was typed behind the `=`; `text` where a plugin's name is wanted."""
    return Given(typed.strip(" "), _value(typed, text=text))


def _nest(parts: tuple[str, ...], source: Override, value: Given) -> Node:
    """Return the value under its keys; an inline table becomes nodes, so that it merges as a table."""
    leaf: Any = value.value if isinstance(value.value, dict) or parts[-1] == "use" else value
    node = plant(leaf, source, parts)
    for depth in range(len(parts) - 1, -1, -1):
        node = Node({parts[depth]: node}, source, parts[:depth])
    return node


def _value(typed: str, *, text: bool) -> Any:
    """Return typed text as a TOML value; as it stands where it is none, or where a plugin's name is wanted (`text`)."""
    try:
        tree = tomli.loads(f"value = {typed}") if "\n" not in typed else {}
    except (ValueError, RecursionError):
        tree = {}
    value = tree.get("value") if len(tree) == 1 and not deeper(tree, DEEPEST) else None
    return typed.strip(" ") if text and not isinstance(value, str) else value


def _unicode(text: str) -> bool:
    """Return whether a text can be written to a file: an argument may hold bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
