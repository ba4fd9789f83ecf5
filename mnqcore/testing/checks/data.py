"""What data sources keep to: bars in order, the same each time, and only those asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.errors import DataError
from mnqcore.testing.verdict import Fault, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from mnqcore.api.values import BarRequest
    from mnqcore.testing.subject import Subject


def request(**changes: Any) -> BarRequest:
    """Return a request of 5-minute bars of MNQ."""
    import pandas as pd

    from mnqcore.api.values import BarRequest
    from mnqcore.market.instruments import catalogue

    size = pd.Timedelta("5min").as_unit("ns")
    given: dict[str, Any] = {"instrument": catalogue()["MNQ"], "bar_size": size}
    return BarRequest(**given | changes)


@check("laid on the clock", "data")
def can_be_laid(subject: Subject) -> Iterator[Fault]:
    """Its bars can be traded: in the instrument's sessions, contracts stitched."""
    from mnqcore.strategy.settings import Session
    from mnqcore.tape import lay

    asked, bars = request(), bars_of(subject)
    market = lay(bars, asked.instrument, Session(), asked.bar_size)
    if market.outside > len(bars) // 2:
        yield Fault(
            f"{market.outside:,} of {len(bars):,} bars lie outside the trading hours of {asked.instrument.name}",
            subject.place(),
            "times are bar starts in UTC",
        )


@check("bounds", "data")
def bounds(subject: Subject) -> Iterator[Fault]:
    """`start` and `end` only cut, [start, end): a bar is the same in every cut."""
    whole = bars_of(subject)
    first, last = whole.index[len(whole) // 3], whole.index[2 * len(whole) // 3]
    part = bars_of(subject, start=first, end=last)
    wanted = whole[(whole.index >= first) & (whole.index < last)]
    if not part.index.equals(wanted.index):
        found = f"{part.index[0]} .. {part.index[-1]}" if len(part) else "none"
        text = f"of [{first}, {last}) it returned {len(part):,} bars, {found}; {len(wanted):,} were there"
        yield Fault(text, subject.place(), "keep bars from start on, and those before end")
    elif not _same(part, wanted):
        yield Fault("a bar has other values where fewer are asked for", subject.place())


@check("the same each time", "data")
def same_each_time(subject: Subject) -> Iterator[Fault]:
    """Asked again it returns the same bars, even if somebody has written to the ones before."""
    bars_of(subject)
    source, asked = subject.build(), request()
    first = source.bars(asked)
    kept = first.copy(deep=True)
    first.loc[:, "close"] = -1.0
    again = source.bars(asked)
    if not _same(kept, again):
        yield Fault("asked again, it returns other bars", subject.place(), "hand out a copy of what is kept")


@check("nothing there", "data")
def nothing_there(subject: Subject) -> Iterator[Fault]:
    """Asked for a time of which it has no bar, it raises DataError."""
    import pandas as pd

    far = pd.Timestamp("1980-01-01", tz="UTC")
    try:
        found = subject.build().bars(request(start=far, end=far + pd.Timedelta(days=2)))
    except (DataError, NotAsked) as error:
        if isinstance(error, NotAsked):
            raise
        return
    except Exception as error:
        yield Fault(f"it raises {type(error).__name__}: {error}", subject.place(), "raise DataError")
        return
    outside = int(((found.index < far) | (found.index >= far + pd.Timedelta(days=2))).sum())
    if found.empty:
        yield Fault("it returns no bars, and does not say why", subject.place(), "raise DataError")
    elif outside:  # what is drawn by a formula may have bars of any time
        yield Fault(f"it returns {outside:,} bars of other times", subject.place(), "raise DataError")


@check("tick grid", "data", advisory=True)
def tick_grid(subject: Subject) -> Iterator[Fault]:
    """Prices are whole ticks of the instrument: others are rounded when they are traded."""
    tick, bars = request().instrument.tick_size, bars_of(subject)
    for name in ("open", "high", "low", "close"):
        ticks = bars[name].to_numpy(np.float64) / tick
        off = float(np.mean(np.abs(ticks - np.rint(ticks)) > 1e-6))
        if off:
            yield Fault(f"{off:.1%} of the values of {name} are no whole ticks of {tick}", subject.place())
            return


def bars_of(subject: Subject, **changes: Any) -> pd.DataFrame:
    """Return the bars of a request; NotAsked where it has none of these."""
    from mnqcore.tape import calls

    try:
        return calls.bars(subject.choice, request(**changes))
    except DataError as error:
        raise NotAsked(f"it has no bars to look at here: {error.what}") from error


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return list(one.columns) == list(other.columns) and one.reset_index(drop=True).equals(other.reset_index(drop=True))
