"""Reading a strategy file: bytes to text to a tree, with every hostile input ending in a finding."""

from __future__ import annotations

import functools
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import tomli

from mnqcore.errors import StrategyError
from mnqcore.strategy.findings import Finding, InvalidFile, Span
from mnqcore.strategy.places import Place, index

if TYPE_CHECKING:
    from mnqcore.strategy.places import Path as Keys

LARGEST = 250_000
"""Bytes; a strategy file is written by hand."""
DEEPEST = 16
"""Levels of tables and arrays; what mnq knows needs five."""
_WINDOWS = re.compile(r'"((?:[A-Za-z]:|\\)\\[^"\n]*)"')


class Source(Protocol):
    """Where a value was written: a file or a `--set`."""

    @property
    def origin(self) -> str:
        """How the source is called beside a value."""
        ...

    def finding(self, message: str, path: Keys, *, key: bool = False, hint: str | None = None) -> Finding:
        """Return a finding at the value (or the key) of `path`, or at what is known to stand nearest above it."""
        ...

    def line(self, path: Keys) -> int | None:
        """Return the line of a key, None where lines mean nothing."""
        ...


@attrs.frozen(eq=False, slots=False)
class Document:
    """A strategy file that parsed: its name, its text with LF line ends, and its tree of plain values."""

    name: str
    text: str
    tree: dict[str, Any]

    @functools.cached_property
    def places(self) -> dict[Keys, Place]:
        """Path -> place of every key; found on first use."""
        return index(self.text)

    @functools.cached_property
    def lines(self) -> list[str]:
        """The text line by line."""
        return self.text.split("\n")

    @property
    def origin(self) -> str:
        """The file's name without its folder."""
        return Path(self.name).name

    def line(self, path: Keys) -> int | None:
        """Return the line that a key stands on, or the nearest table above it."""
        return self._place(path).key.line

    def finding(self, message: str, path: Keys, *, key: bool = False, hint: str | None = None) -> Finding:
        """Return a finding under the value of `path`; under the key if `key`, or if it has no value."""
        place = self._place(path)
        span = place.key if key or place.value is None else place.value
        return _at(self.name, self.lines, span, message, dotted(path), hint)

    def _place(self, path: Keys) -> Place:
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(Span(1, 1)))


def read(path: str | Path) -> Document:
    """Return a file as a document.

    Raises:
        StrategyError: the file is missing, unreadable, too large or not text, or its text is not TOML.
    """
    return parse(_text(str(path), _bytes(path)), str(path))


def parse(text: str, name: str) -> Document:
    """Return TOML text as a document; `name` is what findings call it. InvalidFile if it is not TOML."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        tree = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise InvalidFile([_syntax(name, text, error)]) from None
    except RecursionError:
        raise _unfit(name, "nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise _unfit(name, f"not TOML: {str(error).partition(';')[0]}") from None
    if deeper(tree, DEEPEST):
        raise _unfit(name, f"nested too deeply: more than {DEEPEST} levels")
    return Document(name=name, text=text, tree=tree)


def dotted(path: Keys) -> str:
    """Return a path as it would be typed: strategy.cross.agent.fast; array positions as [2]."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{bare(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def bare(key: str) -> str:
    """Return a key as TOML writes it, quoted where it must be."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _bytes(path: str | Path) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a directory" if os.path.isdir(path) else "not a regular file"
            raise StrategyError(f"{path} is {kind}", next="name a strategy file (.toml)")
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise StrategyError(f"cannot read the strategy file {str(path)!r}: {reason}", next=_neighbours(path)) from None
    if len(content) > LARGEST:
        raise StrategyError(f"{path} is larger than {LARGEST:,} bytes", next="is it a strategy file?")
    return content


def _neighbours(path: str | Path) -> str:
    try:
        found = sorted(Path(path).parent.glob("*.toml"))[:5]
    except (OSError, ValueError):
        found = []
    return (
        f"in that folder: {', '.join(file.name for file in found)}" if found else "check the path and its permissions"
    )


def _text(name: str, content: bytes) -> str:
    if b"\0" in content:
        raise StrategyError(f"{name} is binary, not TOML", found=f"a NUL at byte {content.index(0)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} in line {line}"
        raise StrategyError(f"{name} is not UTF-8", found=found, next="save the file as UTF-8") from None


def _syntax(name: str, text: str, error: tomli.TOMLDecodeError) -> Finding:
    lines = text.split("\n")
    line = lines[error.lineno - 1]
    message, hint = f"not TOML: {error.msg[:1].lower()}{error.msg[1:]}", "fix this first, more may follow"
    span = Span(error.lineno, error.colno)
    path = _WINDOWS.search(line)
    if path and path.start() < error.colno <= path.end() + 1:
        written = path[1][:2] + path[1][2:].replace("\\\\", "\\")
        span = Span(error.lineno, path.start() + 1, len(path[0]))
        message = f"not TOML: '{_escape(path[1], error.colno - path.start() - 2)}' in a \"...\" string"
        hint = f"write '{written}' (single quotes) or {written.replace(chr(92), '/')}; {hint}"
    return _at(name, lines, span, message, "", hint)


def _escape(text: str, near: int) -> str:
    """Return the escape that the parser stumbled over: the last backslash up to `near`, and what follows it."""
    start = max(text.rfind("\\", 0, near + 1), 0)
    return text[start : start + 2]


def _unfit(name: str, message: str) -> InvalidFile:
    return InvalidFile([Finding(message, name, hint="fix this first, more may follow")])


def _at(name: str, lines: list[str], span: Span, message: str, path: str, hint: str | None) -> Finding:
    return Finding(message, name, span, lines[span.line - 1], path, hint)


def deeper(tree: Any, limit: int) -> bool:
    """Return whether a tree is nested beyond a limit, without recursion."""
    level = [tree]
    for _ in range(limit + 1):
        level = [item for node in level for item in _children(node)]
    return bool(level)


def _children(node: Any) -> list[Any]:
    items = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [item for item in items if isinstance(item, (dict, list))]
