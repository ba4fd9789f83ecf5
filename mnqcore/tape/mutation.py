"""Copies of a market, and what was written to one since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from mnqcore.api.values import MarketView


@attrs.frozen
class Rewritten:
    """A column that is not as it was: of which table ("bars", "factor", "feed NAME"), and the first row that differs.

    `bar` and `time` of that row are None where no row does: the column came, went, or is of another type.
    """

    table: str
    column: str
    bar: int | None = None
    time: pd.Timestamp | None = None


def copied(view: MarketView) -> MarketView:
    """Return a market with bars, factor and feeds of its own."""
    feeds = {name: feed.copy() for name, feed in view.feeds.items()}
    return attrs.evolve(view, bars=view.bars.copy(), factor=view.factor.copy(), feeds=feeds)


def rewritten(before: MarketView, after: MarketView) -> Iterator[Rewritten]:
    """Yield the columns that differ between a market and a copy of it that a plugin had."""
    for table, old, new in _tables(before, after):
        if not old.equals(new):
            yield from _columns(table, old, new)


def _tables(before: MarketView, after: MarketView) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    yield "bars", before.bars, after.bars
    yield "factor", before.factor.to_frame("factor"), after.factor.to_frame("factor")
    for name, feed in before.feeds.items():
        yield f"feed {name}", feed, after.feeds[name]


def _columns(table: str, old: pd.DataFrame, new: pd.DataFrame) -> Iterator[Rewritten]:
    if not old.index.equals(new.index):
        yield Rewritten(table, "index")
        return
    for column in old.columns.intersection(new.columns):
        was, now = old[column], new[column]
        if not was.equals(now):
            rows = np.flatnonzero(~((was == now) | (was.isna() & now.isna())).to_numpy(dtype=bool))
            bar = int(rows[0]) if len(rows) else None
            yield Rewritten(table, str(column), bar, None if bar is None else old.index[bar])
    if list(old.columns) != list(new.columns):
        changed = [*old.columns.symmetric_difference(new.columns)]
        yield from (Rewritten(table, str(column)) for column in changed or ["order of columns"])
