"""One finding: what is wrong, where, and what to do; and how a list of them is shown.

strategies.toml:14:17: error: no sizer named 'volatilty' is installed
  14 | sizer = { use = "volatilty", target = 0.01 }
     |                 ^^^^^^^^^^^ strategy.atr-risk.sizer.use
     = did you mean 'volatility'? (mnq list sizer)
1 error; nothing was run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.errors import StrategyError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 100
_SHOWN = 50


@attrs.frozen(order=True)
class Span:
    """A piece of one line: `line` and `column` count from 1, `width` in characters."""

    line: int
    column: int
    width: int = 1


@attrs.frozen
class Finding:
    """One thing wrong.

    `label` is the file's name or `--set a.b=value`; `span` and `source` (the line's text) are None for the latter;
    `dotted` is the key's path. `order` sorts labels: the file first, then the overrides as they were typed.
    `by_plugin`: the plugin is at fault, not the file.
    """

    message: str
    label: str
    span: Span | None = None
    source: str | None = None
    dotted: str = ""
    hint: str | None = None
    order: int = 0
    by_plugin: bool = False

    @property
    def place(self) -> tuple[int, int, int, str, str]:
        """What findings are sorted by, and what makes two of them the same."""
        line, column = (self.span.line, self.span.column) if self.span else (0, 0)
        return self.order, line, column, self.dotted, self.message

    def render(self) -> str:
        """Return the finding as lines: place and message, source and caret, what to do."""
        at = f":{self.span.line}:{self.span.column}" if self.span else ""
        lines = [f"{printable(self.label)}{at}: error: {printable(self.message)}"]
        gutter = "    "
        if self.span and self.source is not None:
            gutter = " " * max(len(str(self.span.line)) + 2, 4)
            lines += self._excerpt(self.span, self.source, gutter)
        if self.hint:
            lines.append(f"{gutter} = {printable(self.hint)}")
        return "\n".join(lines)

    def _excerpt(self, span: Span, source: str, gutter: str) -> list[str]:
        start = max(0, span.column - 1 - _WIDTH // 2) if len(source) > _WIDTH else 0
        text = printable(source[start : start + _WIDTH])
        column = span.column - 1 - start
        carets = "^" * max(1, min(span.width, len(text) - column))
        shown = f"{span.line:>{len(gutter)}} | {text}".rstrip()
        return [shown, f"{gutter} | {' ' * column}{carets} {printable(self.dotted)}".rstrip()]


class InvalidFile(StrategyError):
    """A strategy file with at least one finding; `findings` holds them all, sorted by place.

    The exit code is 3, or 4 where nothing but plugins is at fault.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        unique = {finding.place: finding for finding in findings}
        self.findings = tuple(unique[place] for place in sorted(unique))
        super().__init__(report(self.findings))
        if all(finding.by_plugin for finding in self.findings):
            self.exit_code = 4  # type: ignore[misc] # a property of this one error


def report(findings: tuple[Finding, ...]) -> str:
    """Return all findings as text with the closing count; of very many, the first fifty."""
    lines = [finding.render() for finding in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"... and {len(findings) - _SHOWN} more")
    noun = "error" if len(findings) == 1 else "errors"
    return "\n".join([*lines, f"{len(findings)} {noun}; nothing was run."])


def printable(text: str) -> str:
    """Return text that is safe on a terminal: a tab is one space (so carets stand right), control characters a '?'."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in text)
