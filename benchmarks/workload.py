"""What every row trades: 70,000 made 5-minute bars, the crossings of two averages, and one set of costs.

Only numpy is imported at the top, since the peers' environment reads the same arrays from a file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.loop import TRIP, trade_signals

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TICK, POINT_VALUE = 0.25, 2.0
STOP_TICKS, SLIPPAGE_TICKS, COMMISSION, INITIAL_BALANCE = 200, 1, 0.62, 1_000_000.0
"""The balance is far above what one contract can lose, so that no side runs out of margin and all trade alike."""

_BARS_A_DAY = 276


@dataclass(frozen=True, eq=False)
class Workload:
    """Bars as arrays, (bars,): prices, volume, UTC nanoseconds, and the action taken at each close."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    time: NDArray[np.int64]
    signals: NDArray[np.int8]

    @classmethod
    def make(cls, bars: int) -> Workload:
        """Draw bars of MNQ as one series without rolls, and their crossings of averages over 20 and 50 closes."""
        import pandas as pd

        from mnqcore import BarRequest, Calendar, MarketView
        from mnqcore.market.instruments import catalogue
        from mnqcore.market.rolls import stitch
        from mnqplugins.agents.sma_cross import SmaCross
        from mnqplugins.data.synthetic import Synthetic

        instrument, size = catalogue()["MNQ"], pd.Timedelta(minutes=5)
        source = Synthetic(days=bars // (_BARS_A_DAY * 9 // 10) + 2, carry=0.0, missing=0.0, holes=0.0)
        calendar = Calendar(instrument)
        drawn = stitch(source.bars(BarRequest(instrument=instrument, bar_size=size)), calendar)
        frame = drawn.bars.drop(columns="contract").iloc[:bars]
        factor = pd.Series(1.0, index=frame.index)
        view = MarketView(bars=frame, factor=factor, instrument=instrument, calendar=calendar, bar_size=size)
        columns = {name: frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
        time = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
        return cls(**columns, time=time, signals=SmaCross(fast=20, slow=50).signals(view).to_numpy())

    @classmethod
    def read(cls, path: Path) -> Workload:
        """Read what `write` wrote."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def write(self, path: Path) -> None:
        """Write the arrays to a file for the other environment."""
        np.savez(path, **asdict(self))

    def frame(self) -> pd.DataFrame:
        """Return the bars as mnq wants them: float64 columns on a UTC index named `time`."""
        import pandas as pd

        index = pd.DatetimeIndex(self.time.view("M8[ns]"), tz="UTC", name="time")
        return pd.DataFrame({name: getattr(self, name) for name in ("open", "high", "low", "close", "volume")}, index)


class Loop:
    """The bare loop on a workload, its arrays made beforehand."""

    def __init__(self, work: Workload) -> None:
        self.work = work
        self.equity = np.zeros(len(work.close))
        self.trips = np.zeros(len(work.close), TRIP)

    def run(self, _state: object = None) -> NDArray[np.void]:
        """Trade, and return the round trips."""
        work = self.work
        count = trade_signals(
            work.open,
            work.high,
            work.low,
            work.close,
            work.signals,
            STOP_TICKS * TICK,
            SLIPPAGE_TICKS * TICK,
            COMMISSION,
            POINT_VALUE,
            INITIAL_BALANCE,
            self.equity,
            self.trips,
        )
        return self.trips[:count]
