"""The market rules: pure functions of tape and ledger, one code for the simulator and for live trading.

Every argument is a plain number and no function calls another, so that the simulator can compile them as they stand.
Money is in whole micro-units (1e-6 of the currency), prices in ticks; a limit that is not set is OFF.
"""

from __future__ import annotations

from enum import IntEnum

OFF = 1 << 62
"""A limit that is not set: above any equity or count, so that comparing with it needs no special case."""


class Denial(IntEnum):
    """Why an entry was refused."""

    NONE = 0
    SESSION = 1
    ROLL = 2
    DAILY_LOSS = 3
    MAX_LOSS = 4
    NO_ENTRY_AFTER = 5
    MAX_TRADES = 6
    COOLDOWN = 7
    WARMUP = 8
    MARGIN = 9
    SIZED_TO_0 = 10
    FEED = 11

    @property
    def label(self) -> str:
        """The word shown to users: `sized-to-0`, ..."""
        return self.name.lower().replace("_", "-")


def commission(contracts: int, price: int, tick_micros: int, per_contract: int, percent: float, minimum: int) -> int:
    """Return the commission of one fill in micro-units, rounded once.

    `percent` is of the notional, contracts x price x tick value; `minimum` is its floor a fill.
    """
    charge = contracts * per_contract
    if percent > 0.0:
        charge += max(minimum, round(contracts * price * tick_micros * percent / 100.0))
    return charge


def daily_loss_floor(day_equity: int, limit: int) -> int:
    """Return the equity at or below which, marked at a close, `max_daily_loss` is breached.

    `day_equity` is the equity at the last close before the trading day began.
    """
    return day_equity - limit


def max_loss_floor(peak: int, limit: int) -> int:
    """Return the equity at or below which, marked at a close, `max_loss` is breached: ruin at the latest."""
    return max(0, peak - limit)


def affordable(equity: int, margin: int, margin_share: float, max_position: int) -> int:
    """Return how many contracts `max_position` and the margin share of equity carry, never below 0."""
    if equity <= 0:
        return 0
    return min(max_position, int(equity * margin_share / margin))


def forced_exit(ended: bool, latched: bool, missed: bool, flat: int) -> int:
    """Return the exit reason that the market rules force at the next open, or 0.

    `ended`: the loss limit of the run is breached. `latched`: that of the day. `missed`: the next bar belongs to
    another session or contract. `flat`: the reason why the next bar must be flat (4 session, 6 roll), or 0.
    """
    if ended:
        return 8
    if latched:
        return 7
    if missed:
        return 5
    return flat


def denial(
    ended: bool, latched: bool, flat: int, rolls: bool, missed: bool, late: int, trades_full: bool, cooling: bool,
    warm: bool, fed: bool,
) -> int:  # fmt: skip
    """Return why an entry is refused at this close, the weightiest reason first, or 0.

    `flat`, `missed` as in `forced_exit`: an order to enter expires with its session, so that one whose next bar lies
    beyond it would not fill; `rolls`: the next bar is of another contract; `late`: 1 = past `no_entry_after`, 2 = the
    session closes with this bar, so that no order could be sent; `warm`: bracket and sizer have the history they need,
    and every feed the bar that should have closed by now; `fed`: the feeds have.
    """
    if ended:
        return 4
    if latched:
        return 3
    if rolls or flat == 6:
        return 2
    if flat != 0 or missed or late == 2:
        return 1
    if late == 1:
        return 5
    if trades_full:
        return 6
    if cooling:
        return 7
    if not warm:
        return 8 if fed else 11
    return 0


def slipped(price: int, side: int, slippage: int) -> int:
    """Return the price of a market fill: moved against the trader. `side` is +1 when buying, -1 when selling."""
    return price + side * slippage


def stop_fill(side: int, bar_open: int, stop: int, slippage: int) -> int:
    """Return where a reached stop fills: at the stop, or at the open of a bar that opened beyond it."""
    worst = min(bar_open, stop) if side > 0 else max(bar_open, stop)
    return worst - side * slippage


def target_fill(side: int, bar_open: int, target: int) -> int:
    """Return where a reached target fills: at the target, or at the open of a bar that opened beyond it."""
    return max(bar_open, target) if side > 0 else min(bar_open, target)
