"""What is known of each instrument: tick, money, margin, trading hours, expiry and roll rule.

Instruments are data: `instruments.toml` beside this module, extended by `[instrument.NAME]` in a strategy file.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

import attrs
import tomli

from mnqcore.api.parameters import param

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

MICRO = 1_000_000
"""Money is kept as whole micro-units (1e-6) of the instrument's currency."""


@attrs.frozen(kw_only=True)
class Instrument:
    """A tradable thing; prices become whole ticks and money whole micro-units through it."""

    name: str = param("", help="how strategies call it")
    tick_size: float = param(gt=0, help="smallest price step", unit="price")
    tick_value: float = param(gt=0, help="worth of one tick of one contract", unit="dollars")
    margin: float = param(gt=0, help="margin for one contract", unit="dollars")
    currency: str = param("USD", help="currency of tick_value and margin")
    calendar: str = param("CME_Equity", help="calendar of pandas_market_calendars")
    timezone: str = param("America/Chicago", help="zone of the trading day and of times in strategy files")
    day_start: str = param("17:00", help="where a trading day begins, in that zone")
    cash_open: str = param("08:30", help="start of the cash session (RTH)")
    cash_close: str = param("15:00", help="end of the cash session (RTH)")
    expiry: str = param(
        "none", choices=("none", "third-friday", "third-wednesday"), help="rule for a contract's last trading day"
    )
    roll: str = param("expiry", choices=("expiry", "volume"), help="when the lead contract changes")
    roll_days: int = param(4, ge=1, help="trading days before expiry at which `roll = 'expiry'` changes", unit="days")

    @property
    def tick_micros(self) -> int:
        """Worth of one tick of one contract in micro-units."""
        return round(self.tick_value * MICRO)

    @property
    def margin_micros(self) -> int:
        """Margin for one contract in micro-units."""
        return round(self.margin * MICRO)

    @property
    def point_value(self) -> float:
        """Dollars for a move of 1.0 in price of one contract."""
        return self.tick_value / self.tick_size

    def to_ticks(self, price: ArrayLike) -> NDArray[np.int64]:
        """Return prices as whole ticks, each rounded to the nearest."""
        import numpy as np

        return np.rint(np.asarray(price, dtype=np.float64) / self.tick_size).astype(np.int64)


@functools.cache
def catalogue() -> dict[str, Instrument]:
    """Return name -> instrument of the built-in catalogue."""
    text = resources.files("mnqcore.market").joinpath("instruments.toml").read_text(encoding="utf-8")
    return {name: Instrument(name=name, **facts) for name, facts in tomli.loads(text).items()}
