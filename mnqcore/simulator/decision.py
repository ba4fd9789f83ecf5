"""One decision, from the agent's action to the close of the next bar: market rules, size, fills, mark.

The order of things: the decision at close t meets the market rules, its fills happen at the open of bar t + 1, then
that bar may reach stop or target, then its close marks the ledger.
"""

from __future__ import annotations

from typing import Any

from mnqcore import rules
from mnqcore.api.values import Action, ExitReason
from mnqcore.simulator.compiled import inlined
from mnqcore.simulator.ledger import charge, close_at, mark, new_day, open_at, reach
from mnqcore.tape.records import NO_FEED, NO_PRICE

TAKEN = 0
"""The decision was taken and the next bar has closed."""
ASKS = 1
"""The lane wants a size for the entry written to `ask`; nothing has changed."""

_BUY = int(Action.BUY)
_SELL = int(Action.SELL)
_CLOSE = int(Action.CLOSE)
_SIGNAL = int(ExitReason.SIGNAL)
_END_OF_DATA = int(ExitReason.END_OF_DATA)
_MARGIN = int(rules.Denial.MARGIN)
_SIZED_TO_0 = int(rules.Denial.SIZED_TO_0)
_MICRO = 1e6
_NO_PRICE = int(NO_PRICE)
_NO_FEED = int(NO_FEED)
_FAR = 1 << 62  # a price that no bar reaches

_affordable = inlined(rules.affordable)
_forced_exit = inlined(rules.forced_exit)
_denial = inlined(rules.denial)
_slipped = inlined(rules.slipped)


@inlined
def _write_ask(
    ask: Any, led: Any, law: Any, lane: int, now: Any, order: Any, side: int, equity: int, most: int
) -> None:
    ask.lane, ask.side, ask.bar = lane, side, led.bar
    ask.price = now.close * law.tick_size
    ask.stop_ticks = order.stop
    ask.stop_distance = order.stop * law.tick_size
    ask.tick_value = law.tick_micros / _MICRO
    ask.point_value = law.tick_micros / _MICRO / law.tick_size
    ask.equity = equity / _MICRO
    ask.wins, ask.losses = led.wins, led.losses
    ask.average_win = led.won / _MICRO / led.wins if led.wins > 0 else 0.0
    ask.average_loss = led.lost / _MICRO / led.losses if led.losses > 0 else 0.0
    ask.signal = order.sizer_signal
    ask.max_contracts = most


@inlined
def _permit(led: Any, law: Any, now: Any, following: Any, order: Any, equity: int) -> tuple[int, int]:
    """Return (denial, most contracts) for an entry at this close; `equity` has the closing leg taken off."""
    refused = _denial(
        led.ended != 0,
        led.latched_day == led.day,
        following.flat,
        following.rolled != 0,
        following.missed != 0,
        now.late,
        led.day_trades >= law.max_trades_per_day,
        led.stop_bar >= 0 and led.bar - led.stop_bar < law.cooldown_bars,
        order.stop >= 0 and order.sizer_signal == order.sizer_signal,
        order.stop != _NO_FEED,
    )
    if refused != 0:
        return refused, 0
    most = _affordable(equity, law.margin, law.margin_share, law.max_position)
    return (_MARGIN if most == 0 else 0), most


@inlined
def _exit_reason(led: Any, following: Any, action: int) -> int:
    """Return why a held position leaves at the next open, or 0: what the rules force comes before the agent's wish."""
    forced: int = _forced_exit(led.ended != 0, led.latched_day == led.day, following.missed != 0, following.flat)
    if forced != 0:
        return forced
    against = _SELL if led.position > 0 else _BUY
    return _SIGNAL if action in (against, _CLOSE) else 0


@inlined
def _entry_side(held: int, action: int) -> int:
    """Return +1 or -1 if the action wants to open a position, else 0."""
    if action == _BUY and held <= 0:
        return 1
    return -1 if action == _SELL and held >= 0 else 0


@inlined
def _leave(led: Any, law: Any, now: Any, carried: int, lane: int, reason: int, trades: Any) -> None:
    """Close at the next open of the contract held; where it has none, at the last close, as the data ends there."""
    out = -1 if led.position > 0 else 1
    if carried == _NO_PRICE:
        close_at(led, law, trades, lane, led.bar, _slipped(now.close, out, law.slippage), _END_OF_DATA, law.slippage, 1)
    else:
        close_at(led, law, trades, lane, led.bar + 1, _slipped(carried, out, law.slippage), reason, law.slippage, 0)


@inlined
def _enter(led: Any, law: Any, now: Any, order: Any, following: Any, side: int, contracts: int) -> None:
    """Open at the next open; stop and target stand where the decision's close put them."""
    led.day_trades += 1
    stop = now.close - side * order.stop if order.stop > 0 else -side * _FAR
    target = now.close + side * order.target if order.target > 0 else side * _FAR
    price = _slipped(following.open, side, law.slippage)
    open_at(led, law, led.bar + 1, price, side, contracts, stop, target, order.stop * contracts * law.tick_micros)


@inlined
def _size(
    led: Any, law: Any, now: Any, order: Any, following: Any, lane: int, side: int, size: int, ask: Any
) -> tuple[int, int]:
    """Return (contracts, denial) of an entry; contracts are -1 when Python must be asked first."""
    equity = led.equity
    if led.position != 0:
        equity -= charge(law, abs(led.position), now.close)
    refused, most = _permit(led, law, now, following, order, equity)
    if refused != 0:
        return 0, refused
    if size < 0:
        size = led.answer
    if size < 0:
        _write_ask(ask, led, law, lane, now, order, side, equity, most)
        return -1, 0
    if size > most:
        led.cut += 1
    contracts = min(size, most)
    return contracts, (_SIZED_TO_0 if contracts == 0 else 0)


@inlined
def decide(
    led: Any, law: Any, now: Any, order: Any, following: Any, lane: int, action: int, size: int, ask: Any
) -> tuple[int, int, int]:
    """Return (exit reason, entry side, contracts) that a decision comes to; contracts are -1 when Python must be asked.

    `now` and `order` are of the bar that closed; of `following`, the next, only what the clock says is read. All that
    changes in the ledger is what is counted; `step_denied` says why an entry was refused.
    """
    new_day(led, now.day)
    held = led.position
    reason = _exit_reason(led, following, action) if held != 0 else 0
    side = _entry_side(held, action)
    contracts, refused = 0, 0
    if side != 0:
        contracts, refused = _size(led, law, now, order, following, lane, side, size, ask)
        if contracts < 0:
            return reason, side, -1
    elif action != 0 and reason == 0:
        led.idle += 1
    led.step_denied, led.answer = refused, -1
    return reason, side, contracts


@inlined
def take(
    led: Any, law: Any, now: Any, order: Any, following: Any, carried: int, lane: int, action: int, size: int,
    trades: Any, ask: Any,
) -> int:  # fmt: skip
    """Take one decision through rules, sizing and the next bar; returns ASKS before anything has changed.

    `now` and `order` are of the bar that closed, `following` is the next; `carried` is where the contract held opens
    next. Records only, but for `trades`: each array argument costs a reference count.
    """
    reason, side, contracts = decide(led, law, now, order, following, lane, action, size, ask)
    if contracts < 0:
        return ASKS
    if reason != 0:
        _leave(led, law, now, carried, lane, reason, trades)
    if contracts > 0:
        _enter(led, law, now, order, following, side, contracts)
    if led.position != 0:
        reach(led, law, trades, lane, led.bar + 1, following)
    mark(led, law, following)
    return TAKEN
