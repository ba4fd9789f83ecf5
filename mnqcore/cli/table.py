"""Plain text in columns."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], wrap: Mapping[int, int]) -> list[str]:
    """Return lines of left-aligned columns; `wrap` is column -> the width at which its cells go on below."""
    flat = [list(header), *(line for row in rows for line in _wrapped(row, wrap))]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in flat]


def _wrapped(row: Sequence[str], wrap: Mapping[int, int]) -> list[list[str]]:
    cells = [textwrap.wrap(cell, wrap[at]) if at in wrap else [cell] for at, cell in enumerate(row)]
    return [list(line) for line in itertools.zip_longest(*cells, fillvalue="")]
