"""A data source: a market that goes up and down like a saw.

mnq run examples/one-file/strategies.toml -s sawtooth -p examples/one-file/sawtooth.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import BarRequest, Calendar, DataError, Register, hookimpl, param, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Sawtooth:
    """Draw bars that rise by the same number of ticks for some time and then fall back."""

    first: str = param("2025-01-06", help="first day, YYYY-MM-DD")
    last: str = param("2025-01-31", help="last day, YYYY-MM-DD")
    half: int = param(40, ge=1, le=5000, unit="bars", help="length of a rise, and of a fall")
    step: int = param(3, ge=1, le=100, unit="ticks", help="move of a bar")

    synthetic: ClassVar[bool] = True
    """Whatever is made of these bars is marked SYNTHETIC."""

    def bars(self, request: BarRequest) -> pd.DataFrame:
        """Return float64 `open high low close volume` at every bar that the calendar expects."""
        import numpy as np
        import pandas as pd

        start, end = (pd.Timestamp(day, tz="UTC") for day in (self.first, self.last))
        calendar = Calendar(request.instrument, rth=request.session == "rth")
        times = calendar.bar_starts(start, end, request.bar_size)
        tick, phase = request.instrument.tick_size, np.arange(len(times) + 1) % (2 * self.half)
        price = 80_000 * tick + self.step * tick * np.minimum(phase, 2 * self.half - phase)
        opened, close = price[:-1], price[1:]
        high, low = np.maximum(opened, close) + tick, np.minimum(opened, close) - tick
        columns = {"open": opened, "high": high, "low": low, "close": close, "volume": np.full(len(times), 100.0)}
        # Drawn whole and then cut, so that a bar is the same whatever was asked for.
        kept = np.ones(len(times), np.bool_)
        if request.start is not None:
            kept &= times >= request.start
        if request.end is not None:
            kept &= times < request.end
        if not kept.any():
            raise DataError("no bar in the period asked for", found=f"{start:%Y-%m-%d} .. {end:%Y-%m-%d}")
        return pd.DataFrame(columns, index=times)[kept]


@hookimpl
def register_data_sources(register: Register) -> None:
    """Register the data source."""
    register("sawtooth", Sawtooth)
