"""What a stream delivers, told apart: new bars from old, changed, early, impossible and foreign ones.

Only a new bar is ever decided on, and each bar start of a contract is new once. Whatever else a source sends changes
nothing of what was accepted before.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.market.bars import validate
from mnqcore.strategy.settings import Session
from mnqcore.trading.clockwork import Clockwork
from mnqcore.trading.history import History, empty_bars
from mnqcore.trading.oddities import PRICES, Contracts, Gauge, fault, gauges

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from mnqcore.api.port import Delivered
    from mnqcore.market.calendar import Calendar
    from mnqcore.market.instruments import Instrument

_SECOND = 1_000_000_000
_FIRST, _LAST = 2 * 31_536_000 * _SECOND, 128 * 31_536_000 * _SECOND
"""1972 and 2098, about: times beyond are mistakes."""


class Verdict(Enum):
    """What a delivered bar is."""

    NEW = "new"
    """Closed, sound, and younger than all before it, or of another contract at the same time: the only one to use."""
    DUPLICATE = "duplicate"
    """Accepted before, with the same values."""
    REVISED = "revised"
    """Accepted before, with other values; the first ones stay."""
    LATE = "late"
    """Never seen, but older than the newest."""
    FORMING = "forming"
    """Not closed yet, by the source's word or by the clock's."""
    BAD = "bad"
    """No market makes such a bar."""
    SPIKE = "spike"
    """Far beyond what is usual: kept out until a bar after it confirms it."""
    FOREIGN = "foreign"
    """Of no contract of this series."""
    OUTSIDE = "outside"
    """Outside the session."""
    OFF_GRID = "off-grid"
    """Of a start at which the calendar expects no bar."""


@attrs.frozen(kw_only=True)
class Judged:
    """A delivered bar and what it is. `time`: its start, UTC ns, 0 if it cannot be read. `row`: column -> value.

    `ticks`: open, high, low, close, where they are sound. `missing`: the slots without a bar since the newest before a
    new bar, or a spike. `still`: how many new bars in a row, this one included, neither traded nor moved. `why`: in
    words.
    """

    verdict: Verdict
    time: int
    contract: str = ""
    row: dict[str, float] = attrs.field(factory=dict)
    ticks: tuple[int, int, int, int] | None = None
    missing: int = 0
    still: int = 0
    why: str = ""


class Feed:
    """Judges what a stream delivers, and keeps what it accepts."""

    def __init__(
        self, instrument: Instrument, calendar: Calendar, bar_size: pd.Timedelta, *, history: pd.DataFrame | None,
        spike: float = 20.0, tolerance: int = 2 * _SECOND, trusted: bool = False,
    ) -> None:  # fmt: skip
        """Begin with the bars known so far.

        Args:
            instrument: its ticks.
            calendar: its hours, of the cash session alone where only that counts.
            bar_size: of every bar.
            history: closed bars of the agreed shape; None: the first bar accepted says what columns there are.
            spike: how many times the reach that one recent bar in a hundred has makes a spike.
            tolerance: how long before its close by our clock a bar may come, ns: clocks differ.
            trusted: they are bars of the past that a backtest takes as they are: prices are rounded to ticks, and no
                leap, contract or start is doubted.

        Raises:
            DataError: the history is not of the agreed shape.
        """
        self._instrument = instrument
        self._clock = Clockwork(calendar, Session(rth=calendar.rth), bar_size)
        self._spike = spike
        self._tolerance = tolerance
        self._trusted = trusted
        self._history = None if history is None else History(validate(history))
        self._contracts = Contracts([] if self._history is None else self._history.contracts)
        self._gauges = {} if history is None else gauges(history, instrument)
        self._still: dict[str, int] = {}

    @property
    def newest(self) -> int | None:
        """The start of the newest bar accepted, UTC ns."""
        return None if self._history is None else self._history.newest

    def judge(self, delivered: Delivered, now: int) -> list[Judged]:
        """Judge every row, in order of time, and take up the new ones; `now` is the session's clock, UTC ns."""
        rows = sorted(_rows(delivered.bars), key=lambda judged: judged.time)
        return [self._taken(self._judged(row, now, delivered.forming)) for row in rows]

    def bars(self) -> pd.DataFrame:
        """Return all accepted bars, raw, history included; a copy."""
        return empty_bars() if self._history is None else self._history.frame()

    def since(self, start: int) -> pd.DataFrame:
        """Return the accepted bars from a start on; costs what it returns, not what there is."""
        return empty_bars() if self._history is None else self._history.frame(start)

    def _judged(self, bar: Judged, now: int, forming: bool) -> Judged:
        verdict, why = self._placed(bar, now, forming)
        if verdict is not Verdict.NEW:
            return attrs.evolve(bar, verdict=verdict, why=why)
        columns = () if self._history is None else self._history.columns
        if why := fault(bar.row, columns, self._instrument.tick_size, rounded=self._trusted):
            return attrs.evolve(bar, verdict=Verdict.BAD, why=why)
        opened, high, low, close = (round(bar.row[name] / self._instrument.tick_size) for name in PRICES)
        bar = attrs.evolve(bar, ticks=(opened, high, low, close))
        return self._compared(bar)

    def _placed(self, bar: Judged, now: int, forming: bool) -> tuple[Verdict, str]:
        """Judge a bar by its time and its contract."""
        if bar.verdict is Verdict.BAD:
            return bar.verdict, bar.why
        close = self._clock.slot_end(bar.time)
        if forming or close > now + self._tolerance:
            return Verdict.FORMING, f"closes in {(close - now) / _SECOND:g} s" if close > now else "the source says so"
        if self._trusted:
            return Verdict.NEW, ""
        if why := self._foreign(bar):
            return Verdict.FOREIGN, why
        if not self._clock.in_session(bar.time):
            return Verdict.OUTSIDE, "the market is closed"
        if not self._clock.is_slot(bar.time):
            return Verdict.OFF_GRID, "no bar is expected to start then"
        return Verdict.NEW, ""

    def _foreign(self, bar: Judged) -> str:
        if self._history is None and not bar.contract:
            return ""
        if self._history is not None and not self._history.named:
            return f"the bars so far name no contract, this one is of {bar.contract}" if bar.contract else ""
        year, month = (int(part) for part in str(np.datetime64(bar.time, "ns"))[:7].split("-"))
        return self._contracts.foreign(bar.contract, year, month)

    def _compared(self, bar: Judged) -> Judged:
        """Judge a sound bar by those before it."""
        seen = None if self._history is None else self._history.find(bar.time, bar.contract)
        if seen is not None:
            changes = [
                f"{name} {old:.10g} -> {bar.row[name]:.10g}"
                for name, old in seen.items()
                if _differ(old, bar.row[name])
            ]
            verdict = Verdict.REVISED if changes else Verdict.DUPLICATE
            return attrs.evolve(bar, verdict=verdict, why=", ".join(changes))
        if self.newest is not None and bar.time < self.newest:
            why = f"{(self.newest - bar.time) / _SECOND:g} s older than the newest"
            return attrs.evolve(bar, verdict=Verdict.LATE, why=why)
        gauge = self._gauge(bar.contract)
        slots = self._missing(gauge.newest, bar.time) + 1
        why = gauge.leap(bar.time, bar.ticks, self._spike, slots) if bar.ticks and not self._trusted else ""
        verdict = Verdict.SPIKE if why else Verdict.NEW
        return attrs.evolve(bar, verdict=verdict, missing=self._missing(self.newest, bar.time), why=why)

    def _missing(self, newest: int | None, time: int) -> int:
        return 0 if newest is None else len(self._clock.slots_between(newest, time))

    def _taken(self, bar: Judged) -> Judged:
        """Take up a new bar, and count what it shows."""
        if bar.ticks is None or bar.verdict not in (Verdict.NEW, Verdict.SPIKE):
            return bar
        gauge = self._gauge(bar.contract)
        if bar.verdict is Verdict.SPIKE:
            gauge.keep_out(bar.time, bar.ticks)
            return bar
        moved = gauge.moved(bar.ticks) or bar.row["volume"] > 0
        self._still[bar.contract] = still = 0 if moved else self._still.get(bar.contract, 0) + 1
        if self._history is None:
            self._history = _begun(bar)
        self._history.add(bar.time, bar.contract, bar.row)
        self._contracts.add(bar.contract)
        gauge.add(bar.time, bar.ticks)
        return attrs.evolve(bar, still=still)

    def _gauge(self, contract: str) -> Gauge:
        return self._gauges.setdefault(contract, Gauge())


def _rows(bars: pd.DataFrame) -> Iterator[Judged]:
    """Yield what a table holds, however odd it is: rows whose time cannot be read are BAD."""
    columns = {str(name): column for name, column in bars.items()}
    contracts = columns.pop("contract").tolist() if "contract" in columns else [""] * len(bars)
    values = {name: _floats(column) for name, column in columns.items()}
    for at, (time, contract) in enumerate(zip(_times(bars.index), contracts, strict=True)):
        known = _FIRST < time < _LAST
        yield Judged(
            verdict=Verdict.NEW if known else Verdict.BAD,
            time=time if known else 0,
            contract=contract if isinstance(contract, str) else "",
            row={name: column[at] for name, column in values.items()},
            why="" if known else "its time cannot be read",
        )


def _times(index: pd.Index) -> list[int]:
    import pandas as pd

    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        return [0] * len(index)
    try:
        return index.as_unit("ns").asi8.tolist()
    except ValueError:  # of an age that nanoseconds do not reach
        return [0] * len(index)


def _floats(column: pd.Series) -> list[float]:
    try:
        return column.to_numpy(np.float64).tolist()
    except (TypeError, ValueError):
        return [math.nan] * len(column)


def _differ(old: float, new: float) -> bool:
    return old != new and not (math.isnan(old) and math.isnan(new))


def _begun(bar: Judged) -> History:
    """Return a history without bars, of the columns that a first bar has."""
    bars = empty_bars()
    for name in bar.row:
        bars[name] = np.zeros(0)
    if bar.contract:
        bars["contract"] = np.zeros(0, dtype=object)
    return History(bars)
