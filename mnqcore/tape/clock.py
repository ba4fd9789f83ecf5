"""What the clock alone says of bars: where a position must be flat, what counts as missed, when it is too late.

One code for the tape and for live trading: it reads the starts of bars, the calendar and the times of rolls.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mnqcore.api.values import ExitReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnqcore.market.calendar import Calendar, Located
    from mnqcore.strategy.settings import Session

    Ints = NDArray[np.int64]

NEVER = 1 << 31
"""Bars to a moment to be flat by that does not come."""
SEARCH = pd.Timedelta(days=10)
"""No market is closed for longer: the session before or after a time lies within."""
_FOREVER = np.iinfo(np.int64).max  # nanoseconds


def mark(
    tape: NDArray[np.void], start: Ints, located: Located, rolls: Sequence[int], calendar: Calendar, session: Session,
    size: int,
) -> Ints | None:  # fmt: skip
    """Fill in `flat`, `missed`, `rolled` and `late` of BAR records; all of them must be 0 before.

    Args:
        tape: the records of bars that follow each other.
        start: their starts, UTC ns, in one piece of memory.
        located: where they lie, by `calendar`.
        rolls: when the lead changes to another contract, UTC ns, in order; none of them before the first bar.
        calendar: of the instrument; with `rth` where the session says so.
        session: what must be flat when.
        size: of a bar, ns.

    Returns:
        How many bars each is away from being flat; None where nothing ever must be.
    """
    lead = session.flat_lead * size
    to_flat = np.full(len(start), _FOREVER, np.int64)
    if session.flat_by_close:
        to_flat = located.flat_close - lead - start
        tape["flat"][to_flat <= 0] = ExitReason.SESSION
        tape["missed"][1:] = located.session[1:] != located.session[:-1]
        tape["late"][start + size >= located.close] = 2  # nothing is sent into a closed market
    for roll in rolls:
        end, before = _last_moment(roll, calendar), start < roll
        tape["flat"][(start >= end - lead) & before] = ExitReason.ROLL
        to_flat[before] = np.minimum(to_flat[before], end - lead - start[before])
    first = np.unique(np.searchsorted(start, np.array(rolls, np.int64)))
    first = first[first < len(start)]
    tape["rolled"][first] = 1
    tape["missed"][first] = 1
    if session.no_entry_after is not None:
        limit = _minutes(session.no_entry_after, calendar.instrument.day_start) * 60
        local = pd.DatetimeIndex(start, tz="UTC").tz_convert(calendar.instrument.timezone)
        begin = _minutes(calendar.instrument.day_start, "00:00") * 60
        began = (local.hour * 3600 + local.minute * 60 + local.second - begin) % 86_400
        # The size comes after the remainder: the bar that closes a trading day closes 24 hours into it.
        tape["late"][(np.asarray(began) + size / 1e9 > limit) & (tape["late"] == 0)] = 1
    if not session.flat_by_close and not rolls:
        return None
    bars: Ints = np.where(to_flat == _FOREVER, NEVER, np.maximum(to_flat, 0) // size)
    return bars


@functools.lru_cache(maxsize=256)
def _last_moment(roll: int, calendar: Calendar) -> int:
    """Return when the old contract can last be traded, UTC ns: the close before a roll, or a roll within a session."""
    time = pd.Timestamp(roll, tz="UTC")
    sessions = calendar.sessions(time - SEARCH, time)
    closes = sessions.loc[sessions["open"] < time, "flat_close"]
    moment = min(closes.iloc[-1], time) if len(closes) else time
    return int(moment.as_unit("ns").value)


def _minutes(clock: str, since: str) -> int:
    """Return minutes from one time of day to another, over midnight if need be."""
    (hour, minute), (from_hour, from_minute) = (map(int, text.split(":")) for text in (clock, since))
    return (hour * 60 + minute - from_hour * 60 - from_minute) % 1440
