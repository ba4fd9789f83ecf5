"""What a session has made or lost on its trading day: watched at closes, at fills, and when the broker is asked.

The market rules look at the ledger at the close of a bar, in trading as in a backtest. What is here comes on top: it
looks within the bar too, flattens at `emergency_loss`, and holds our own reckoning against the broker's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.market.instruments import MICRO
from mnqcore.trading.memory import State

if TYPE_CHECKING:
    from mnqcore.api.port import AccountState
    from mnqcore.strategy.trade import Limits
    from mnqcore.trading.books import Books
    from mnqcore.trading.memory import Memory
    from mnqcore.trading.protection import Protection


def day_profit(books: Books) -> int:
    """Return micro-units made since the trading day began, fills that wait for their bar's close included.

    The last price is the close of the newest bar, or of a later fill.
    """
    led = books.ledger[0]
    if not books.pending:
        return int(led["equity"] - led["day_equity"])
    tick, price = int(books.law["tick_micros"][0]), max(books.pending, key=lambda fill: fill.time).price
    made = int(led["cash"]) + int(led["position"]) * (price - int(led["entry_price"])) * tick
    for fill in books.pending:
        made += fill.side * fill.contracts * (price - fill.price) * tick - books.fee(fill.contracts, fill.price)
    return made - int(led["day_equity"])


@attrs.define(kw_only=True)
class Losses:
    """Watches what is lost. `live`: money is at stake, so that a loss limit waits for a person."""

    memory: Memory
    protection: Protection
    limits: Limits
    live: bool
    _latched_day: int = attrs.field(default=-1, init=False)
    _drifted_day: int = attrs.field(default=-1, init=False)
    _base: tuple[int, int] | None = attrs.field(default=None, init=False)
    """Trading day, and what the broker's profit was ahead of ours when both were first compared on it."""

    def closed(self, bar: int) -> None:
        """Look after the bar that starts at `bar` has closed: the limits of day, run and emergency."""
        memory, led = self.memory, self.memory.books.ledger[0]
        if led["latched_day"] == led["day"] and self._latched_day != led["day"]:
            self._latched_day = int(led["day"])
            memory.alert("warning", "the day's loss limit is reached: no entry until the next trading day")
            if self.live:
                memory.halt("the day's loss limit is reached: mnq trade resume acknowledges it")
        if led["ended"]:
            memory.turn(State.REDUCING, "the loss limit of the run is reached")
        self.within(bar)

    def within(self, bar: int, told: int | None = None) -> None:
        """Flatten and halt where the day's loss has reached `emergency_loss`.

        `told`: the day's profit by the broker, micro-units; the worse of it and of ours counts.
        """
        if self.limits.emergency_loss is None:
            return
        made = day_profit(self.memory.books)
        made = made if told is None else min(made, told)
        if made <= -round(self.limits.emergency_loss * MICRO):
            self.protection.give_up(
                f"the day's loss of {-made / MICRO:,.2f} has reached emergency_loss {self.limits.emergency_loss:,.2f}",
                bar,
            )

    def compared(self, account: AccountState, *, flat: bool, day: int, bar: int) -> None:
        """Hold the broker's profit of the day against ours; say so once a day where they drift apart.

        Both begin their day when they like, and an account may have traded before: what counts is how the difference
        changes from the day's first comparison on. `flat`: nothing is held, whose price each may see differently.
        `day`: the trading day.
        """
        books = self.memory.books
        if account.profit is None or books.ledger["day"][0] != day:
            return
        ahead = account.profit - day_profit(books)
        if flat and (self._base is None or self._base[0] != day):
            self._base = day, ahead
        if self._base is None or self._base[0] != day:
            return
        drift = ahead - self._base[1]
        if flat and abs(drift) > round(self.limits.pnl_drift * MICRO) and self._drifted_day != day:
            self._drifted_day = day
            self.memory.alert("warning", f"the broker's profit of the day has drifted {drift / MICRO:+,.2f} from ours")
        self.within(bar, account.profit - self._base[1])
