"""What the clock alone says: the next bar slot, whether a position may be open in it, when it must be flat.

A backtest knows the bar that followed each decision, live trading does not. Here the bar that the calendar expects
stands in for it, marked by the code that marks the tape. Sessions, early closes and rolls are so obeyed before a bar
shows them, and where none comes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.errors import DataError
from mnqcore.market.calendar import Calendar
from mnqcore.market.rolls import contract_month, roll_day
from mnqcore.trading.stretch import DAY, Layout, Stretch, time_text, timedelta, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from mnqcore.strategy.settings import Session

_MINUTE = 60_000_000_000
_KEPT = 16  # sessions


def next_roll(contract: str, near_year: int, calendar: Calendar) -> int | None:
    """Return when the lead leaves a contract by the instrument's rule, UTC ns: where its roll day begins to trade.

    None where no rule tells it beforehand: a roll by volume, or an instrument without expiry. Such a roll is known only
    once the source's lead has changed, and nothing can be flat before it.

    Args:
        contract: its code, as `contract_month` reads it.
        near_year: a year in which it traded.
        calendar: of the instrument.
    """
    instrument = calendar.instrument
    if instrument.roll != "expiry" or instrument.expiry == "none":
        return None
    day = roll_day(contract_month(contract, near_year), calendar)
    midnight = int(day.astype("M8[ns]").astype(np.int64))
    # By the minute: a trading day may begin within a session.
    minutes = calendar.bar_starts(timestamp(midnight - DAY), timestamp(midnight + 2 * DAY), timedelta(_MINUTE))
    return int(minutes.asi8[np.flatnonzero(calendar.locate(minutes).day >= day)[0]])


class Clockwork:
    """The slots that the calendar expects, marked as `lay` marks bars; times are UTC nanoseconds.

    Cheap once a session has been asked for. A moment between two sessions belongs to the later one.
    """

    def __init__(self, calendar: Calendar, session: Session, bar_size: pd.Timedelta, rolls: Sequence[int] = ()) -> None:
        """Take what is known: `rolls` are times at which the lead changes; of others the clock says nothing."""
        self._calendar = Calendar(calendar.instrument, rth=session.rth)
        self._session = session
        self._size = int(bar_size.as_unit("ns").value)
        self._stretches: deque[Stretch] = deque(maxlen=_KEPT)
        self._flats: dict[tuple[int, int], int] = {}
        self._day = (0, 0, 0)
        self._layout = Layout(calendar=self._calendar, session=session, size=self._size)
        known = sorted({self.next_slot(roll - 1) for roll in rolls})  # a roll shows at the first bar that can be
        self._layout = attrs.evolve(self._layout, rolls=tuple(known))
        self._stretches.clear()

    @property
    def rolls(self) -> tuple[int, ...]:
        """The first slot after each known roll, in order."""
        return tuple(self._layout.rolls)

    def next_slot(self, start: int) -> int:
        """Return the start of the first slot after a time."""
        starts = self._around(start).starts
        return starts[bisect_right(starts, start)]

    def slot_end(self, start: int) -> int:
        """Return when the bar of a slot closes: the last before a break or a close may be shorter than the others."""
        around = self._around(start)
        if start < around.open:
            return start + self._size
        paused, _ = around.pause
        return min(start + self._size, paused if start < paused else around.close)

    def is_slot(self, start: int) -> bool:
        """Whether the calendar expects a bar that starts at a time."""
        return start in self._around(start).rows

    def slot(self, start: int) -> np.void:
        """Return a slot as the BAR record that `lay` makes of its bar when every bar exists, without prices.

        `day` is the trading day as `trading_day` counts it: as good as a running number for telling days apart.

        Raises:
            DataError: no slot starts there.
        """
        around = self._around(start)
        if start not in around.rows:
            raise DataError("no bar is expected at this time", found=time_text(start))
        record: np.void = around.records[around.rows[start]].copy()
        return record

    def following(self, start: int) -> np.void:
        """Return what a decision at the close of a slot has to know of the clock, as a BAR record without prices.

        `flat`, `missed`, `rolled` and `day` are those of the next slot, `late` is that of the slot itself.
        """
        around = self._around(start)
        row = around.rows.get(start)
        if row is None:
            return self._following_any(start, around)
        record: np.void = around.records[row + 1].copy()
        record["late"] = around.records[row]["late"]
        return record

    def in_session(self, now: int) -> bool:
        """Whether the market is open: within a session, and in no break of it."""
        around = self._around(now)
        paused, resumed = around.pause
        return around.open <= now and not paused <= now < resumed

    def flat_from(self, now: int) -> int | None:
        """Return the start of the first flat slot of the session that runs or comes next; None if there is none.

        From then on no position may be open, so it may be past. Where sessions are held through, the slot may belong
        to a later session: the one before the next known roll.
        """
        ahead = next((roll for roll in self._layout.rolls if roll > now), 0)
        if not self._session.flat_by_close and not ahead:
            return None
        around = self._around(now)
        key = (around.close, ahead)
        if key not in self._flats:
            self._flats[key] = self._first_flat(now, ahead)
        return self._flats[key]

    def session_close(self, now: int) -> int:
        """Return the close of the session that runs or comes next."""
        return self._around(now).close

    def next_open(self, now: int) -> int:
        """Return when the next session opens, after the one that runs."""
        around = self._around(now)
        return around.open if now < around.open else around.next_open

    def trading_day(self, time: int) -> int:
        """Return the trading day of a time, in days since 1970; it begins at the instrument's `day_start`."""
        first, last, day = self._day
        if not first <= time < last:
            self._day = first, last, day = self._day_from(time)
        return day

    def slots_between(self, after: int, until: int) -> list[int]:
        """Return the starts of the slots that start after one time and close at or before another."""
        if self.slot_end(self.next_slot(after)) > until:
            return []
        starts: list[int] = self._layout.starts(after + 1, until).asi8.tolist()
        return starts[:-1] if self.slot_end(starts[-1]) > until else starts

    def _around(self, time: int) -> Stretch:
        for stretch in self._stretches:
            if stretch.holds(time):
                return stretch
        stretch = self._layout.stretch(time)
        self._stretches.appendleft(stretch)
        return stretch

    def _following_any(self, start: int, around: Stretch) -> np.void:
        """Do as `following` for a time that is no slot."""
        import pandas as pd

        record: np.void = around.records[bisect_right(around.starts, start)].copy()
        record["late"] = self._layout.marked(pd.DatetimeIndex([timestamp(start)]))["late"][0]
        return record

    def _first_flat(self, now: int, ahead: int) -> int:
        if not self._session.flat_by_close:  # only the sessions before the roll have any
            now = max(now, ahead - self._layout.reach)
        around = self._around(now)
        while (flat := around.flat_from()) is None:
            around = self._around(around.close)
        return flat

    def _day_from(self, time: int) -> tuple[int, int, int]:
        """Return a time, the end of its trading day as far as a day ahead, and the day."""
        import pandas as pd

        minutes = np.append(time, time - time % _MINUTE + np.arange(1, 1441) * _MINUTE)
        days = self._calendar.locate(pd.DatetimeIndex(minutes, tz="UTC")).day.astype(np.int64)
        return time, int(minutes[int(np.searchsorted(days, days[0], side="right")) - 1]), int(days[0])
