"""Made bars with the shape of real ones: the embedded default data, seeded and marked SYNTHETIC everywhere.

Sessions, halts and holidays are the real calendar's. Within them a driftless or predictable path is drawn, split into
bars, put on the tick grid and written out per contract, with the flaws that real files have: missing bars, a longer
hole now and then, a first bar without volume after each halt, and two contracts side by side before each roll.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, ClassVar

from mnqcore import BarRequest, DataError, param, plugin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore import Calendar

_FIRST_YEAR, _LAST_YEAR = 2000, 2100
_START_TICKS = 80_000
"""Where prices start if the user does not say: 20,000 for MNQ."""


@plugin
class Synthetic:
    """Draw bars of a market whose nature is known: `trend`, `mean-revert`, `no-edge` or `regimes`."""

    market: str = param(
        "regimes",
        choices=("trend", "mean-revert", "no-edge", "regimes"),
        help="trend = runs of both signs; mean-revert = pulled back to a slow average; no-edge = a martingale, nothing "
        "can earn on it; regimes = spells of the three",
    )
    days: int = param(250, ge=2, le=5000, unit="trading days", help="length")
    start: str = param("2024-01-02", help="first trading day, YYYY-MM-DD")
    seed: int = param(0, ge=0, help="the same seed gives the same bars")
    volatility: float = param(0.20, gt=0, le=2, unit="a year", help="standard deviation of yearly log returns")
    edge: float = param(1.0, ge=0, le=5, help="strength of trends and of the pull back; 0 makes every market no-edge")
    price: float | None = param(None, gt=0, help="first price; 80,000 ticks if not given")
    carry: float = param(0.04, ge=-0.2, le=0.2, unit="a year", help="how much dearer a later contract is")
    missing: float = param(0.005, ge=0, le=0.5, unit="share", help="bars missing one by one")
    holes: float = param(3.0, ge=0, le=100, unit="a year", help="longer holes, of 2 to 12 hours each")

    def __attrs_post_init__(self) -> None:
        try:
            year = date.fromisoformat(self.start).year
        except ValueError as error:
            raise ValueError(f"start must be a date YYYY-MM-DD, was {self.start!r}") from error
        if not _FIRST_YEAR <= year <= _LAST_YEAR:
            raise ValueError(f"start must be in {_FIRST_YEAR} .. {_LAST_YEAR}, was {self.start!r}")

    synthetic: ClassVar[bool] = True
    """Tells the core to print SYNTHETIC on whatever is made of these bars."""

    def bars(self, request: BarRequest) -> pd.DataFrame:
        """Return float64 `open high low close volume` and, for futures, `contract`, indexed by `time` (bar start).

        `request.start` (inclusive) and `request.end` (exclusive) only cut: a bar has the same prices in every cut.
        Raises DataError where nothing is left, and for `duration`, which has no meaning here.
        """
        if request.duration is not None:
            raise DataError(
                "synthetic bars have no end to count back from",
                found=f"duration = {request.duration!r}",
                next="set data.days, or a start and an end",
            )
        bars = _cut(self._draw(request), request)
        if bars.empty:
            raise DataError(
                "no synthetic bar in the period asked for",
                where=f"{request.start} .. {request.end}",
                found=f"{self.days} trading days from {self.start}",
                next="set data.start and data.days so that they hold the period",
            )
        return bars

    def _draw(self, request: BarRequest) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        from mnqcore import Calendar
        from mnqplugins.data import _contracts, _path

        instrument, bar_size = request.instrument, request.bar_size
        calendar = Calendar(instrument, rth=request.session == "rth")
        sessions = self._sessions(calendar)
        times = calendar.bar_starts(sessions["open"].iloc[0], sessions["close"].iloc[self.days - 1], bar_size)
        times = times[times < sessions["close"].iloc[self.days - 1]]
        generator = np.random.default_rng(self.seed)
        grid = _path.grid(times, calendar.locate(times), bar_size, instrument)
        path = _path.draw(grid, generator, self.market, self.volatility / calendar.days_per_year**0.5, self.edge)
        rows = _contracts.rows(times, grid.day, sessions.index.to_numpy(), instrument, self.carry)
        rows = rows.keep(self._delivered(rows.bar, len(times), bar_size, generator))
        start = self.price or _START_TICKS * instrument.tick_size
        frame = pd.DataFrame(_contracts.prices(rows, path, start, instrument), index=times[rows.bar])
        if rows.codes:
            frame["contract"] = pd.array(rows.codes, dtype="str").take(rows.contract)
        return frame

    def _sessions(self, calendar: Calendar) -> pd.DataFrame:
        """Return the sessions of the path and those of the two quarters beyond, which hold the last expiry."""
        import pandas as pd

        first = pd.Timestamp(self.start)
        span = pd.Timedelta(days=round(self.days * 366 / calendar.days_per_year) + 200)
        sessions = calendar.sessions(first - pd.Timedelta(days=1), first + span)
        return sessions[sessions.index >= first]

    def _delivered(
        self, bar: NDArray[np.int64], n: int, bar_size: pd.Timedelta, generator: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Return which rows a vendor would have: some are missing by themselves, some in longer holes."""
        import numpy as np

        hours = 3600 / bar_size.total_seconds()
        count = generator.poisson(self.holes * self.days / 252)
        present = np.ones(n, dtype=bool)
        for at, length in zip(generator.integers(0, n, count), generator.uniform(2, 12, count) * hours, strict=True):
            present[at : at + round(length)] = False
        return present[bar] & (generator.random(len(bar)) >= self.missing)


def _cut(bars: pd.DataFrame, request: BarRequest) -> pd.DataFrame:
    """Return the bars of [request.start, request.end)."""
    import numpy as np

    keep = np.ones(len(bars), dtype=bool)
    if request.start is not None:
        keep &= bars.index >= request.start
    if request.end is not None:
        keep &= bars.index < request.end
    return bars[keep] if not keep.all() else bars
