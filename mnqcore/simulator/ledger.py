"""What fills and closes do to a lane's ledger: entries, exits, stop and target, the mark at a close."""

from __future__ import annotations

from typing import Any

from mnqcore import rules
from mnqcore.api.values import ExitReason
from mnqcore.simulator.compiled import compiled, inlined

_STOP = int(ExitReason.STOP)
_TARGET = int(ExitReason.TARGET)
_END_OF_DATA = int(ExitReason.END_OF_DATA)

_commission = inlined(rules.commission)
_daily_loss_floor = inlined(rules.daily_loss_floor)
_max_loss_floor = inlined(rules.max_loss_floor)
_slipped = inlined(rules.slipped)
_stop_fill = inlined(rules.stop_fill)
_target_fill = inlined(rules.target_fill)


@inlined
def charge(law: Any, contracts: int, price: int) -> int:
    """Return the commission of one fill, micro-units."""
    fee: int = _commission(contracts, price, law.tick_micros, law.per_contract, law.percent, law.minimum)
    return fee


@compiled
def close_at(
    led: Any, law: Any, trades: Any, lane: int, bar: int, price: int, reason: int, slip: int, held: int
) -> None:
    """Book the exit of the whole position at `price`, slippage of `slip` ticks already inside."""
    side = 1 if led.position > 0 else -1
    contracts = abs(led.position)
    moved = side * (price - led.entry_price)
    led.best, led.worst = max(led.best, moved), max(led.worst, -moved)
    gross = moved * contracts * law.tick_micros
    fee = charge(law, contracts, price)
    fees = led.entry_commission + fee
    led.cash += gross - fee
    net = gross - fees
    if net > 0:
        led.wins += 1
        led.won += net
    elif net < 0:
        led.losses += 1
        led.lost -= net
    row = trades[led.trades]
    row.lane, row.entry_bar, row.exit_bar = lane, led.entry_bar, bar
    row.side, row.contracts = side, contracts
    row.entry_price, row.exit_price, row.reason = led.entry_price, price, reason
    row.gross, row.commission, row.exit_commission = gross, fees, fee
    row.slippage = (law.slippage + slip) * contracts * law.tick_micros
    row.bars_held = bar - led.entry_bar + held
    row.mae, row.mfe = led.worst * contracts * law.tick_micros, led.best * contracts * law.tick_micros
    row.risk = led.risk
    led.trades += 1
    led.position = 0
    if reason == _STOP:
        led.stop_bar = bar


@inlined
def open_at(
    led: Any, law: Any, bar: int, price: int, side: int, contracts: int, stop: int, target: int, risk: int
) -> None:
    """Book an entry at `price`; `stop` and `target` are prices in ticks, out of reach where there is none."""
    fee = charge(law, contracts, price)
    led.position = side * contracts
    led.entry_price, led.entry_bar, led.entry_commission = price, bar, fee
    led.stop, led.target, led.risk = stop, target, risk
    led.best, led.worst = 0, 0
    led.cash -= fee
    led.margin_peak = max(led.margin_peak, contracts * law.margin)


@inlined
def reach(led: Any, law: Any, trades: Any, lane: int, bar: int, now: Any) -> None:
    """Let bar `now` reach stop or target, the stop first, and follow the excursions of what stays open."""
    if led.position > 0:
        side, against, favour = 1, now.low, now.high
        stopped, reached = against <= led.stop, favour >= led.target
    else:
        side, against, favour = -1, now.high, now.low
        stopped, reached = against >= led.stop, favour <= led.target
    if stopped:
        gap = side * (led.stop - now.open)
        if gap > 0:
            led.gap_stops += 1
            led.worst_gap = max(led.worst_gap, gap)
        close_at(
            led, law, trades, lane, bar, _stop_fill(side, now.open, led.stop, law.slippage), _STOP, law.slippage, 1
        )
        return
    led.worst = max(led.worst, side * (led.entry_price - against))
    if reached:
        close_at(led, law, trades, lane, bar, _target_fill(side, now.open, led.target), _TARGET, 0, 1)
        return
    led.best = max(led.best, side * (favour - led.entry_price))


@inlined
def new_day(led: Any, day: int) -> None:
    """Begin a trading day: its losses count from the equity at the close before it."""
    if day != led.day:
        led.day, led.day_equity, led.day_trades = day, led.equity, 0


@inlined
def mark(led: Any, law: Any, now: Any) -> None:
    """Mark the ledger at the close of `now` and latch the loss limits that it breaches."""
    new_day(led, now.day)
    led.equity = led.cash + led.position * (now.close - led.entry_price) * law.tick_micros
    led.peak = max(led.peak, led.equity)
    latch(led, law)


@inlined
def latch(led: Any, law: Any) -> None:
    """Note which loss limits the equity at the last close breaches: the day's, or the run's."""
    if led.latched_day != led.day and led.equity <= _daily_loss_floor(led.day_equity, law.max_daily_loss):
        led.latched_day = led.day
        led.latched_days += 1
    if led.equity <= _max_loss_floor(led.peak, law.max_loss):
        led.ended = 1


@compiled
def finish(led: Any, law: Any, tape: Any, lane: int, trades: Any) -> None:
    """Book what is still open at the close of the lane's last bar: a truncation, marked as such."""
    if led.position != 0:
        close = tape[led.bar].close
        price = _slipped(close, -1 if led.position > 0 else 1, law.slippage)
        close_at(led, law, trades, lane, led.bar, price, _END_OF_DATA, law.slippage, 1)
        mark(led, law, tape[led.bar])
    led.done = 1
