"""Figures as text, and plain text in columns."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_INDENT = 9
_NARROWEST = 8
_GAP = "   "

WIDTH = 80
"""Columns that everything but paths fits in."""


def columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    wrap: Sequence[int] = (),
    right: Container[int] = (),
    indent: int = 0,
) -> list[str]:
    """Return lines of columns behind `indent` spaces, left-aligned but for those of `right`.

    Cells of the columns in `wrap` go on below where the table would otherwise be wider than 80 columns.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = WIDTH - indent - 2 * (len(header) - 1)
    while sum(widths) > room and (wide := [at for at in wrap if widths[at] > _NARROWEST]):
        widths[max(wide, key=lambda at: widths[at])] -= 1
    flat = [list(header), *(line for row in rows for line in _wrapped(row, widths, wrap))]
    used = [max(map(len, column)) for column in zip(*flat, strict=True)]
    cells = ([_cell(line[at], width, at in right) for at, width in enumerate(used)] for line in flat)
    return [(" " * indent + "  ".join(line)).rstrip() for line in cells]


def filled(label: str, cells: Sequence[str]) -> list[str]:
    """Return cells behind a label, on as many lines as they need; a cell that is too long is broken at a space."""
    lines, gap = [f"{label:<{_INDENT - 1}}"], " "
    for cell in cells:
        for number, part in enumerate(textwrap.wrap(cell, WIDTH - _INDENT, break_long_words=False)):
            if number or len(lines[-1]) + len(gap) + len(part) > WIDTH:
                lines.append(" " * _INDENT + part)
            else:
                lines[-1] += gap + part
            gap = _GAP
    return [line.rstrip() for line in lines]


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a figure with so many decimals, "-" where it has no value; from a million on in millions."""
    if value is None:
        return "-"
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.2f}M"
    return f"{value:,.{digits if abs(value) < 1e5 else 0}f}"


def percent(share: float | None) -> str:
    """Return a share as a percentage, "-" where it has no value."""
    if share is None:
        return "-"
    return f"{round(100 * share, 1) + 0.0:.1f} %"  # + 0.0: what rounds to -0.0 is 0.0


def dollars(value: float | None) -> str:
    """Return money with its sign before the dollar: -$11.03."""
    return "-" if value is None else f"{'-' if value < 0 else ''}${fixed(abs(value))}"


def _cell(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _wrapped(row: Sequence[str], widths: Sequence[int], wrap: Sequence[int]) -> list[list[str]]:
    cells = [textwrap.wrap(cell, widths[at]) if at in wrap else [cell] for at, cell in enumerate(row)]
    return [list(line) for line in itertools.zip_longest(*cells, fillvalue="")]
