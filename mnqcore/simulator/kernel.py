"""The kernel: moves one lane along the tape, bar by bar, and stops where Python must choose a size.

The order of things in one bar: the decision at close t meets the market rules, its fills happen at
the open of bar t + 1, then that bar may reach stop or target, then its close marks the ledger.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnqcore import rules
from mnqcore.api.values import Action, ExitReason
from mnqcore.simulator.compiled import compiled, inlined
from mnqcore.tape.records import NO_PRICE

RAN = 0
"""The lane reached the bar asked for, or its end."""
ASKS = 1
"""The lane wants a size for the entry written to `ask`."""
FULL = 2
"""The trade buffer needs room."""

_BUY, _SELL, _CLOSE = int(Action.BUY), int(Action.SELL), int(Action.CLOSE)
_SIGNAL, _STOP, _TARGET = int(ExitReason.SIGNAL), int(ExitReason.STOP), int(ExitReason.TARGET)
_END_OF_DATA = int(ExitReason.END_OF_DATA)
_WARMUP, _MARGIN, _SIZED_TO_0 = int(rules.Denial.WARMUP), int(rules.Denial.MARGIN), int(rules.Denial.SIZED_TO_0)
_MICRO = 1e6
_NO_PRICE = int(NO_PRICE)
_FAR = 1 << 62  # a price that no bar reaches
_ONE = np.uint64(1)

_commission = inlined(rules.commission)
_daily_loss_floor = inlined(rules.daily_loss_floor)
_max_loss_floor = inlined(rules.max_loss_floor)
_affordable = inlined(rules.affordable)
_forced_exit = inlined(rules.forced_exit)
_denial = inlined(rules.denial)
_slipped = inlined(rules.slipped)
_stop_fill = inlined(rules.stop_fill)
_target_fill = inlined(rules.target_fill)


@inlined
def _fee(law: Any, contracts: int, price: int) -> int:
    fee: int = _commission(contracts, price, law.tick_micros, law.per_contract, law.percent, law.minimum)
    return fee


@compiled
def _close(led: Any, law: Any, trades: Any, lane: int, bar: int, price: int, reason: int, slip: int, held: int) -> None:
    """Book the exit of the whole position at `price`, slippage of `slip` ticks already inside."""
    side = 1 if led.position > 0 else -1
    contracts = abs(led.position)
    moved = side * (price - led.entry_price)
    led.best, led.worst = max(led.best, moved), max(led.worst, -moved)
    gross = moved * contracts * law.tick_micros
    fee = _fee(law, contracts, price)
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
def _open(
    led: Any, law: Any, bar: int, price: int, side: int, contracts: int, stop: int, target: int, risk: int
) -> None:
    """Book an entry at `price`; `stop` and `target` are prices in ticks, out of reach where there is none."""
    fee = _fee(law, contracts, price)
    led.position = side * contracts
    led.entry_price, led.entry_bar, led.entry_commission = price, bar, fee
    led.stop, led.target, led.risk = stop, target, risk
    led.best, led.worst = 0, 0
    led.cash -= fee
    led.margin_peak = max(led.margin_peak, contracts * law.margin)


@inlined
def _reach(led: Any, law: Any, trades: Any, lane: int, bar: int, now: Any) -> None:
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
        _close(led, law, trades, lane, bar, _stop_fill(side, now.open, led.stop, law.slippage), _STOP, law.slippage, 1)
        return
    led.worst = max(led.worst, side * (led.entry_price - against))
    if reached:
        _close(led, law, trades, lane, bar, _target_fill(side, now.open, led.target), _TARGET, 0, 1)
        return
    led.best = max(led.best, side * (favour - led.entry_price))


@inlined
def _new_day(led: Any, day: int) -> None:
    """Begin a trading day: its losses count from the equity at the close before it."""
    if day != led.day:
        led.day, led.day_equity, led.day_trades = day, led.equity, 0


@inlined
def _mark(led: Any, law: Any, now: Any) -> None:
    """Mark the ledger at the close of `now` and latch the loss limits that it breaches."""
    _new_day(led, now.day)
    led.equity = led.cash + led.position * (now.close - led.entry_price) * law.tick_micros
    led.peak = max(led.peak, led.equity)
    _latch(led, law)


@inlined
def _latch(led: Any, law: Any) -> None:
    if led.latched_day != led.day and led.equity <= _daily_loss_floor(led.day_equity, law.max_daily_loss):
        led.latched_day = led.day
        led.latched_days += 1
    if led.equity <= _max_loss_floor(led.peak, law.max_loss):
        led.ended = 1


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
        now.late,
        led.day_trades >= law.max_trades_per_day,
        led.stop_bar >= 0 and led.bar - led.stop_bar < law.cooldown_bars,
        order.stop >= 0 and order.sizer_signal == order.sizer_signal,
    )
    if refused != 0:
        return refused, 0
    most = _affordable(equity, law.margin, law.margin_share, law.max_position)
    return (_MARGIN if most == 0 else 0), most


@compiled
def _wait(led: Any, until: int, actions: Any, equity: Any) -> None:
    """Pass the bars in which a flat lane orders nothing; its equity stands still."""
    kept, value, idle = equity.shape[0] > 0, led.equity, 0
    # Unsigned: numba then has no negative index to look out for, which is two thirds of the time of this loop.
    t, end = np.uint64(led.bar), np.uint64(until)
    while t < end:
        action = actions[t]
        if action != 0:
            if action != _CLOSE:
                break
            idle += 1
        t += _ONE
        if kept:
            equity[t] = value
    led.bar = np.int64(t)
    led.idle += idle


@compiled
def _hold(led: Any, law: Any, tape: Any, breaks: Any, until: int, actions: Any, equity: Any) -> None:
    """Pass the bars in which a held position meets no order, no forced exit, no stop and no target.

    Most bars in the market are such. Ends at once after a bar that breaches a loss limit.
    """
    going = True
    while going and led.bar < until:
        while breaks[led.breaks] <= led.bar:
            led.breaks += 1
        end = breaks[led.breaks]
        began, day, day_equity, day_trades = led.bar, led.day, led.day_equity, led.day_trades
        if end == led.bar + 1:
            following = tape[end]
            if following.flat != 0 or following.missed != 0:
                return
            _new_day(led, following.day)
            end = breaks[led.breaks + 1]
        going = _hold_day(led, law, tape, min(end - 1, until), actions, equity)
        if led.bar == began:  # the decision at this close is still one of the day before
            led.day, led.day_equity, led.day_trades = day, day_equity, day_trades
        _latch(led, law)


@compiled
def _hold_day(led: Any, law: Any, tape: Any, until: int, actions: Any, equity: Any) -> bool:
    """Pass such bars of one trading day up to bar `until`; False when something stopped it before.

    Everything the loop touches is a local number: through the ledger's record in memory it costs four times as much.
    """
    cash, entry, value, peak, idle = led.cash, led.entry_price, led.equity, led.peak, 0
    side = 1 if led.position > 0 else -1
    # Reckoned as if every position were long: a short one reads the bar upside down.
    start, stop, target = side * entry, side * led.stop, side * led.target
    best, worst = start + led.best, start - led.worst
    worth, against = led.position * law.tick_micros, _SELL if side > 0 else _BUY
    day_floor = _daily_loss_floor(led.day_equity, law.max_daily_loss)
    limit = law.max_loss
    floor = max(day_floor, _max_loss_floor(peak, limit))
    kept, going = equity.shape[0] > 0, True
    t, end = np.uint64(led.bar), np.uint64(until)
    while going and t < end:
        action, now = actions[t], tape[t + _ONE]
        if action != 0:
            if action in (against, _CLOSE):
                going = False
                break
            idle += 1
        low, high = (now.low, now.high) if side > 0 else (-now.high, -now.low)
        if low <= stop or high >= target:
            idle -= 1 if action != 0 else 0  # counted where this bar is decided
            going = False
            break
        best, worst = max(best, high), min(worst, low)
        value = cash + (now.close - entry) * worth
        t += _ONE
        if kept:
            equity[t] = value
        peak, floor = max(peak, value), max(floor, _max_loss_floor(value, limit))  # the floor rises with the peak
        going = value > floor
    led.bar, led.equity, led.peak, led.best, led.worst = np.int64(t), value, peak, best - start, start - worst
    led.idle += idle
    return going


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
        _close(led, law, trades, lane, led.bar, _slipped(now.close, out, law.slippage), _END_OF_DATA, law.slippage, 1)
    else:
        _close(led, law, trades, lane, led.bar + 1, _slipped(carried, out, law.slippage), reason, law.slippage, 0)


@inlined
def _enter(led: Any, law: Any, now: Any, order: Any, following: Any, side: int, contracts: int) -> None:
    """Open at the next open; stop and target stand where the decision's close put them."""
    led.day_trades += 1
    stop = now.close - side * order.stop if order.stop > 0 else -side * _FAR
    target = now.close + side * order.target if order.target > 0 else side * _FAR
    price = _slipped(following.open, side, law.slippage)
    _open(led, law, led.bar + 1, price, side, contracts, stop, target, order.stop * contracts * law.tick_micros)


@inlined
def _size(
    led: Any, law: Any, now: Any, order: Any, following: Any, lane: int, side: int, size: int, ask: Any
) -> tuple[int, int]:
    """Return (contracts, denial) of an entry; contracts are -1 when Python must be asked first."""
    equity = led.equity
    if led.position != 0:
        equity -= _fee(law, abs(led.position), now.close)
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


@compiled
def _event(
    led: Any, law: Any, now: Any, order: Any, following: Any, carried: int, lane: int, action: int, size: int,
    trades: Any, ask: Any,
) -> int:  # fmt: skip
    """Take one decision through rules, sizing and the next bar; returns ASKS before anything has changed.

    `now` and `order` are of the bar that closed, `following` is the next; `carried` is where the contract held opens
    next. Records only, but for `trades`: each array argument costs a reference count.
    """
    _new_day(led, now.day)
    held = led.position
    reason = _exit_reason(led, following, action) if held != 0 else 0
    side = _entry_side(held, action)
    contracts, refused = 0, 0
    if side != 0:
        contracts, refused = _size(led, law, now, order, following, lane, side, size, ask)
        if contracts < 0:
            return ASKS
    elif action != 0 and reason == 0:
        led.idle += 1
    led.step_denied, led.answer = refused, -1
    if reason != 0:
        _leave(led, law, now, carried, lane, reason, trades)
    if contracts > 0:
        _enter(led, law, now, order, following, side, contracts)
    if led.position != 0:
        _reach(led, law, trades, lane, led.bar + 1, following)
    _mark(led, law, following)
    return RAN


@compiled
def _finish(led: Any, law: Any, tape: Any, lane: int, trades: Any) -> None:
    """Book what is still open at the close of the lane's last bar: a truncation, marked as such."""
    if led.position != 0:
        close = tape[led.bar].close
        price = _slipped(close, -1 if led.position > 0 else 1, law.slippage)
        _close(led, law, trades, lane, led.bar, price, _END_OF_DATA, law.slippage, 1)
        _mark(led, law, tape[led.bar])
    led.done = 1


@compiled
def advance(
    tape: Any,
    orders: Any,
    breaks: Any,
    rulebook: Any,
    ledger: Any,
    lane: int,
    until: int,
    actions: Any,
    sizes: Any,
    trades: Any,
    denied: Any,
    equity: Any,
    asks: Any,
) -> int:
    """Move a lane until bar `until` has closed; returns RAN, ASKS or FULL and can be called again after each.

    `tape`, `orders`, `rulebook`: BAR (bars,), ORDER (bars,), RULES (1,). `ledger`: LEDGER (lanes,), only row `lane`
    is touched. `actions`: int8, by bar. `sizes`: int64, by bar; an empty array asks Python for each entry. `trades`:
    TRADE, this lane's buffer. `denied`: int64 (lanes, denials). `equity`: int64 micro-units at each close, by bar; may
    be empty. `asks`: ASK, its first row is written. `breaks`: the bars that a held position does not just pass.
    """
    led = ledger[lane]
    law = rulebook[0]
    given = sizes.shape[0] > 0
    kept = equity.shape[0] > 0
    until = min(until, led.last)
    while led.bar < until and led.done == 0:
        if led.position == 0:
            _wait(led, until, actions, equity)
        elif led.ended == 0 and led.latched_day != led.day:
            _hold(led, law, tape, breaks, until, actions, equity)
        t = led.bar
        if t < until:  # may still be a quiet bar: one after a breach, say
            if led.trades + 2 > trades.shape[0]:
                return FULL
            size, carried = sizes[t] if given else -1, orders[t + 1].carry_open
            if (
                _event(led, law, tape[t], orders[t], tape[t + 1], carried, lane, actions[t], size, trades, asks[0])
                == ASKS
            ):
                return ASKS
            denied[lane, led.step_denied] += 1
            led.bar = t + 1
        if led.bar == led.last or (led.ended != 0 and led.position == 0):
            _finish(led, law, tape, lane, trades)
        if kept:
            equity[led.bar] = led.equity
    return RAN


@compiled
def step(
    tape: Any,
    orders: Any,
    rulebook: Any,
    ledger: Any,
    actions: Any,
    sized: Any,
    trades: Any,
    denied: Any,
    asks: Any,
    steps: Any,
) -> int:
    """Move every lane one bar; returns how many lanes ask for a size, written to `asks`.

    Call it again with the answers in the ledger until it returns 0. `sized`: bool, by lane: this lane has already
    moved in this step (cleared when all have). `trades`: TRADE (lanes, 4), this step's round trips. `steps`: STEP
    (lanes,). A lane that is done stays where it is and reports that nothing happened.
    """
    law = rulebook[0]
    asking = 0
    for lane in range(ledger.shape[0]):
        led = ledger[lane]
        if sized[lane]:
            continue
        if led.done != 0:
            led.trades = 0
            _rest(steps[lane], actions[lane])
            continue
        if led.answer < 0:
            led.trades = 0
        before, position = led.equity, led.position
        now, order, following, carried = (
            tape[led.bar],
            orders[led.bar],
            tape[led.bar + 1],
            orders[led.bar + 1].carry_open,
        )
        ask, booked = asks[asking], trades[lane]
        if _event(led, law, now, order, following, carried, lane, actions[lane], -1, booked, ask) == ASKS:
            asking += 1
            continue
        denied[lane, led.step_denied] += 1
        led.bar += 1
        if led.bar == led.last or (led.ended != 0 and led.position == 0):
            _finish(led, law, tape, lane, trades[lane])
        _report(steps[lane], led, law, tape, orders, actions[lane], position, before, booked)
        sized[lane] = True
    if asking == 0:
        sized[:] = False
    return asking


@compiled
def _report(
    out: Any, led: Any, law: Any, tape: Any, orders: Any, action: int, position: int, before: int, trades: Any
) -> None:
    """Write what plugins see of a lane's step, in dollars; `trades` are the round trips that ended in it."""
    now, later = tape[led.bar], orders[led.bar]
    opened, reason, contracts = led.entry_bar == led.bar, 0, 0
    net, fees, mae, mfe, risk = 0, led.entry_commission if opened else 0, 0, 0, 0
    for number in range(led.trades):
        row = trades[number]
        reason, contracts = row.reason, contracts + row.contracts
        net, fees = net + row.gross - row.commission, fees + row.exit_commission
        mae, mfe, risk = mae + row.mae, mfe + row.mfe, risk + row.risk
    held = abs(led.position)
    if led.trades == 0 and held > 0:
        risk = led.risk
    out.action, out.denied, out.exit_reason = action, led.step_denied != 0, reason
    out.opened, out.closed = opened, led.trades > 0
    out.stopped, out.forced, out.done = reason == _STOP, reason > _TARGET, led.done != 0
    out.previous_position, out.position, out.contracts = position, led.position, contracts
    out.sides = led.trades + (1 if opened else 0)
    out.bars_held = led.bar - led.entry_bar + 1 if held > 0 else 0
    out.realised, out.commission = net / _MICRO, fees / _MICRO
    out.equity, out.equity_change = led.equity / _MICRO, (led.equity - before) / _MICRO
    out.peak_equity, out.initial_balance = led.peak / _MICRO, led.initial / _MICRO
    out.unrealised = (led.equity - led.cash) / _MICRO
    out.closed_mae, out.closed_mfe = mae / _MICRO, mfe / _MICRO
    worth = held * law.tick_micros
    out.open_mae, out.open_mfe = led.worst * worth / _MICRO, led.best * worth / _MICRO
    out.entry_risk = risk / _MICRO if risk > 0 else 1.0
    out.price_change = 0.0 if now.rolled != 0 else (now.close - tape[led.bar - 1].close) * law.tick_size
    out.bars_to_flat, out.bar, out.time, out.signal = later.bars_to_flat, led.bar, later.time, later.reward_signal


@compiled
def _rest(out: Any, action: int) -> None:
    """Let the last report of a lane that is done stand, but for what happened then."""
    out.action, out.exit_reason, out.contracts, out.sides = action, 0, 0, 0
    out.denied = out.opened = out.closed = out.stopped = out.forced = False
    out.previous_position = out.position
    out.realised = out.commission = out.equity_change = out.closed_mae = out.closed_mfe = out.price_change = 0.0
    out.entry_risk = 1.0
