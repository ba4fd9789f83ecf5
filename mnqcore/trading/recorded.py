"""A strategy's recorded bars, laid out for a venue that replays them: slot by slot, all contracts side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.calendar import Calendar
    from mnqcore.market.rolls import Stitched
    from mnqcore.strategy.model import Strategy

    Ints = NDArray[np.int64]


@attrs.frozen(kw_only=True, eq=False)
class Carried:
    """What a roll does to orders in the contract that it leaves; slots are numbers of slots.

    Between `after` and `at` the old contract's orders wait, as no bar of the series lies there; at slot `at` a market
    order in `contract` fills at `open` (ticks), or at that contract's last close where it is None: it trades no more.
    """

    after: int
    at: int
    contract: str
    open: int | None


@attrs.frozen(kw_only=True, eq=False)
class Recorded:
    """A strategy's bars within the session, as its data source returned them, and the slots that they lie in.

    A slot is a bar start of the calendar, with or without bars. Arrays by slot: `start`, `close` (UTC ns), `session`
    (changes where an order for the day expires), `day` (changes where the trading day does); the rows of slot i are
    `bars[first[i]:first[i + 1]]`. `last_days`: contract -> its last trading day, ISO 8601, empty if it has none.
    """

    strategy: Strategy
    bars: pd.DataFrame
    start: Ints
    close: Ints
    session: Ints
    day: Ints
    first: Ints
    carried: tuple[Carried, ...]
    last_days: dict[str, str]


def recorded(file: str | Path, plugins: Sequence[str] = ()) -> Recorded:
    """Read the bars of the one strategy in a file.

    Args:
        file: the strategy file, resolved or not.
        plugins: `-p` values.

    Raises:
        MnqError: what is wrong with the plugins, the file or its bars.
    """
    from mnqcore import plugins as admitted
    from mnqcore.strategy import load

    return laid_out(load(file, None, admitted.load(plugins)))


def laid_out(strategy: Strategy) -> Recorded:
    """Ask a strategy's data source for its bars and lay them out; DataError where there are none."""
    import pandas as pd

    from mnqcore.api.values import BarRequest
    from mnqcore.market.bars import bar_size
    from mnqcore.market.calendar import Calendar
    from mnqcore.market.rolls import stitch
    from mnqcore.tape import calls

    size = bar_size(strategy.bar_size)
    calendar = Calendar(strategy.instrument, rth=strategy.session.rth)
    session = "rth" if strategy.session.rth else "full"
    bars = calls.bars(strategy.data, BarRequest(instrument=strategy.instrument, bar_size=size, session=session))
    inside = calendar.locate(pd.DatetimeIndex(bars.index)).session >= 0
    bars = bars if inside.all() else bars[inside]
    joined = stitch(bars, calendar)  # raises where there is no bar
    times = pd.DatetimeIndex(bars.index).as_unit("ns")
    slots = calendar.bar_starts(times[0], times[-1], size).as_unit("ns").union(times.unique())
    located, start = calendar.locate(slots), slots.asi8
    return Recorded(
        strategy=strategy,
        bars=bars,
        start=start,
        close=np.minimum(start + int(size.as_unit("ns").value), located.close),
        session=located.session if strategy.session.flat_by_close else np.zeros(len(start), np.int64),
        day=located.day.astype(np.int64),
        first=np.append(np.searchsorted(times.asi8, start), len(bars)),
        carried=_carried(joined, start, strategy),
        last_days=_last_days(bars, calendar),
    )


def _carried(joined: Stitched, start: Ints, strategy: Strategy) -> tuple[Carried, ...]:
    import pandas as pd

    leads = pd.DatetimeIndex(joined.bars.index).as_unit("ns")
    found = []
    for roll in joined.rolls:
        row = int(leads.searchsorted(roll.time))
        price = joined.carry_open[row]
        slots = np.searchsorted(start, leads.asi8[[row - 1, row]])
        ticks = None if np.isnan(price) else int(strategy.instrument.to_ticks(price))
        found.append(Carried(after=int(slots[0]), at=int(slots[1]), contract=roll.old, open=ticks))
    return tuple(found)


def _last_days(bars: pd.DataFrame, calendar: Calendar) -> dict[str, str]:

    import pandas as pd

    from mnqcore.market.rolls import contract_month, expiry_day

    if "contract" not in bars:
        return {"": ""}
    firsts = bars["contract"].drop_duplicates()
    if calendar.instrument.expiry == "none":
        return {str(name): "" for name in firsts}
    years = pd.DatetimeIndex(firsts.index).year
    months = {str(name): contract_month(str(name), int(year)) for name, year in zip(firsts, years, strict=True)}
    return {name: str(expiry_day(month, calendar)) for name, month in months.items()}
