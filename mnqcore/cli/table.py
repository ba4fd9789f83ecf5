"""Plain text in columns."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

_INDENT = 9
_GAP = "   "

WIDTH = 80
"""Columns that everything but paths fits in."""


def columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], wrap: Mapping[int, int], right: Container[int] = ()
) -> list[str]:
    """Return lines of columns, left-aligned but for those of `right`.

    `wrap` is column -> the width at which its cells go on below.
    """
    flat = [list(header), *(line for row in rows for line in _wrapped(row, wrap))]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    return ["  ".join(_cell(line[at], width, at in right) for at, width in enumerate(widths)).rstrip() for line in flat]


def filled(label: str, cells: Sequence[str]) -> list[str]:
    """Return cells behind a label, on as many lines as they need; a cell that is too long is broken at a space."""
    lines: list[str] = []
    for cell in cells:
        for number, part in enumerate(textwrap.wrap(cell, WIDTH - _INDENT, break_long_words=False)):
            if lines and not number and len(lines[-1]) + len(part) + len(_GAP) <= WIDTH:
                lines[-1] += _GAP + part
            else:
                lines.append(" " * _INDENT + part)
    first = lines[0].strip() if lines else ""
    return [f"{label:<{_INDENT - 1}} {first}".rstrip(), *lines[1:]]


def _cell(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _wrapped(row: Sequence[str], wrap: Mapping[int, int]) -> list[list[str]]:
    cells = [textwrap.wrap(cell, wrap[at]) if at in wrap else [cell] for at, cell in enumerate(row)]
    return [list(line) for line in itertools.zip_longest(*cells, fillvalue="")]
