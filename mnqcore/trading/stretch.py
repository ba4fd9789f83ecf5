"""One session laid out: the slots that the calendar expects in it, marked as `lay` marks the bars of a tape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.errors import DataError
from mnqcore.tape.clock import mark
from mnqcore.tape.records import BAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.calendar import Calendar
    from mnqcore.strategy.settings import Session

DAY = 86_400_000_000_000
_SEARCH = 11 * DAY  # no market is closed for longer


@attrs.frozen(kw_only=True, eq=False)
class Stretch:
    """A session, from the close of the one before it: its slots and, at their end, the first slot of the next.

    `rows`: start of a slot -> its row in `records`; the last record is of the next session's slot and has none.
    """

    since: int
    open: int
    close: int
    next_open: int
    pause: tuple[int, int]
    starts: list[int]
    rows: dict[int, int]
    records: NDArray[np.void]

    def holds(self, time: int) -> bool:
        """Whether a time lies between the close before and this close."""
        return self.since <= time < self.close

    def flat_from(self) -> int | None:
        """Return the start of the first slot in which no position may be open."""
        flat = np.flatnonzero(self.records["flat"][:-1])
        return self.starts[flat[0]] if len(flat) else None


@attrs.frozen(kw_only=True, eq=False)
class Layout:
    """What sessions are laid out by: `calendar` is of the session's hours, `size` of a bar and `rolls` in ns."""

    calendar: Calendar
    session: Session
    size: int
    rolls: Sequence[int] = ()

    @property
    def reach(self) -> int:
        """How long before a roll its flat slots can begin at the earliest, ns."""
        return self.session.flat_lead * self.size + _SEARCH

    def stretch(self, time: int) -> Stretch:
        """Lay out the session that runs at a time or comes next."""
        table = self.calendar.sessions(timestamp(time - _SEARCH), timestamp(time + _SEARCH))
        columns = (table[name].to_numpy("M8[ns]") for name in ("open", "close", "break_start", "break_end"))
        opens, closes, pauses, resumes = (column.astype(np.int64) for column in columns)
        row = int(np.searchsorted(closes, time, side="right"))
        if not 0 < row < len(opens) - 1:
            raise DataError("the calendar has no session near this time", found=time_text(time))
        broken = bool(resumes[row] > opens[row])  # without a break it is the lowest number there is
        # One slot before the session shows by which it is the first of another.
        times = self.starts(int(closes[row - 1]) - self.size, int(opens[row + 1]))
        records, first = self.marked(times), int(np.searchsorted(times.asi8, opens[row]))
        starts: list[int] = times.asi8[first:].tolist()
        return Stretch(
            since=int(closes[row - 1]),
            open=int(opens[row]),
            close=int(closes[row]),
            next_open=int(opens[row + 1]),
            pause=(int(pauses[row]), int(resumes[row])) if broken else (0, 0),
            starts=starts,
            rows={start: at for at, start in enumerate(starts[:-1])},
            records=records[first:],
        )

    def starts(self, first: int, last: int) -> pd.DatetimeIndex:
        """Return the starts of all slots from one time to another."""
        return self.calendar.bar_starts(timestamp(first), timestamp(last), timedelta(self.size))

    def marked(self, times: pd.DatetimeIndex) -> NDArray[np.void]:
        """Return the records of bars that start at some times and follow each other."""
        located, starts = self.calendar.locate(times), times.asi8
        records = np.zeros(len(starts), BAR)
        records["day"] = located.day.astype(np.int64)
        rolls = [roll for roll in self.rolls if starts[0] < roll < int(starts[-1]) + self.reach]
        mark(records, starts, located, rolls, self.calendar, self.session, self.size)
        return records


def timestamp(time: int) -> pd.Timestamp:
    """Return UTC nanoseconds as pandas has them."""
    import pandas as pd

    return pd.Timestamp(time, unit="ns", tz="UTC")


def timedelta(size: int) -> pd.Timedelta:
    """Return nanoseconds as pandas has them."""
    import pandas as pd

    return pd.Timedelta(size, unit="ns")


def time_text(time: int) -> str:
    """Return UTC nanoseconds as people read them."""
    return f"{np.datetime64(time, 'ns')} UTC"
