"""A ledger beside a live market: decided at a close like the kernel's, but booked from the fills that a broker reports.

The kernel knows the next bar when it takes a decision; here the two halves lie apart. Both halves are the kernel's own
code, so that the same fills make the same books. All arrays hold one record: the one lane's.
"""

from __future__ import annotations

from typing import Any

from mnqcore.api.values import ExitReason
from mnqcore.simulator.compiled import compiled
from mnqcore.simulator.decision import ASKS, TAKEN, decide
from mnqcore.simulator.episode import see
from mnqcore.simulator.ledger import charge, close_at, mark, open_at
from mnqcore.tape.records import NO_PRICE

_STOP = int(ExitReason.STOP)
_TARGET = int(ExitReason.TARGET)
_FAR = 1 << 62  # a price that no bar reaches
_NO_PRICE = int(NO_PRICE)


@compiled
def decide_at_close(
    now: Any, order: Any, following: Any, rulebook: Any, ledger: Any, action: int, size: int, denied: Any, asks: Any,
    found: Any,
) -> int:  # fmt: skip
    """Take the first half of a decision: market rules and size; returns TAKEN, or ASKS before anything has changed.

    `now`, `following`: BAR (1,), of `following` only what the clock says is read. `order`: ORDER (1,). `size`: the
    sizer's answer, -1 to be asked. `denied`: int64 (1, denials). `found`: int64 (3,), written: exit reason, entry side,
    contracts.
    """
    led = ledger[0]
    reason, side, contracts = decide(led, rulebook[0], now[0], order[0], following[0], 0, action, size, asks[0])
    if contracts < 0:
        return ASKS
    denied[0, led.step_denied] += 1
    found[0], found[1], found[2] = reason, side, contracts
    return TAKEN


@compiled
def book_entry(
    ledger: Any, rulebook: Any, contracts: int, price: int, side: int, stop: int, target: int, risk: int
) -> None:
    """Book an entry, or more of one, in the bar after the ledger's.

    Parts at several prices are held at their mean, in whole ticks; what the rounding leaves is booked with the
    commission, so that no money is lost. `stop`, `target`: ticks, NO_PRICE where there is none. `risk`: stop distance
    in ticks.
    """
    led, law = ledger[0], rulebook[0]
    held = abs(led.position)
    stop = -side * _FAR if stop == _NO_PRICE else stop
    target = side * _FAR if target == _NO_PRICE else target
    if held == 0:
        led.day_trades += 1
        open_at(led, law, led.bar + 1, price, side, contracts, stop, target, risk * contracts * law.tick_micros)
    else:
        fee = charge(law, contracts, price)
        total = held + contracts
        mean = (held * led.entry_price + contracts * price) // total
        extra = side * (held * led.entry_price + contracts * price - total * mean) * law.tick_micros
        led.position, led.entry_price = side * total, mean
        led.risk += risk * contracts * law.tick_micros
        led.entry_commission += fee + extra
        led.cash -= fee + extra
        led.margin_peak = max(led.margin_peak, total * law.margin)


@compiled
def book_exit(ledger: Any, rulebook: Any, trades: Any, now: Any, contracts: int, price: int, reason: int) -> None:
    """Book that contracts left at `price` in bar `now`, the one after the ledger's; the round trip goes to `trades`."""
    led, law, bar = ledger[0], rulebook[0], now[0]
    side, total = (1 if led.position > 0 else -1), abs(led.position)
    within = reason in (_STOP, _TARGET)
    if reason == _STOP:
        gap = side * (led.stop - bar.open)
        if gap > 0:
            led.gap_stops += 1
            led.worst_gap = max(led.worst_gap, gap)
    elif reason == _TARGET:
        led.worst = max(led.worst, side * (led.entry_price - (bar.low if side > 0 else bar.high)))
    fees, risk = led.entry_commission, led.risk
    led.position = side * contracts
    led.entry_commission, led.risk = fees * contracts // total, risk * contracts // total
    rest, kept_fees, kept_risk = total - contracts, fees - led.entry_commission, risk - led.risk
    slip = 0 if reason == _TARGET else law.slippage
    close_at(led, law, trades, 0, led.bar + 1, price, reason, slip, 1 if within else 0)
    if rest > 0:
        led.position, led.entry_commission, led.risk = side * rest, kept_fees, kept_risk


@compiled
def book_close(ledger: Any, rulebook: Any, now: Any) -> None:
    """Let bar `now` close: follow the excursions of an open position, mark the ledger, latch what it breaches."""
    led, bar = ledger[0], now[0]
    if led.position != 0:
        side = 1 if led.position > 0 else -1
        against, favour = (bar.low, bar.high) if side > 0 else (bar.high, bar.low)
        led.worst = max(led.worst, side * (led.entry_price - against))
        led.best = max(led.best, side * (favour - led.entry_price))
    mark(led, rulebook[0], bar)
    led.bar += 1


@compiled
def mark_again(ledger: Any, rulebook: Any, now: Any) -> None:
    """Mark the ledger at the close of bar `now` once more: something was booked since."""
    mark(ledger[0], rulebook[0], now[0])


@compiled
def correct(ledger: Any, rulebook: Any, now: Any, amount: int, opening: bool) -> None:
    """Book that a fill cost `amount` micro-units more than was booked; `opening`: it opened what is still held."""
    led = ledger[0]
    led.cash -= amount
    if opening and led.position != 0:
        led.entry_commission += amount
    led.equity -= amount


@compiled
def see_position(ledger: Any, lookback: int, out: Any) -> None:
    """Write the position as an agent sees it to `out`, float32 (4,)."""
    see(ledger[0], lookback, out)
