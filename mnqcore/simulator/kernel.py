"""The kernel: moves lanes along the tape, bar by bar, and stops where Python must choose a size."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnqcore.api.values import Action, ExitReason
from mnqcore.rules import Denial
from mnqcore.simulator.addresses import array_at, fetch_ahead
from mnqcore.simulator.compiled import compiled
from mnqcore.simulator.decision import ASKS, take
from mnqcore.simulator.ledger import finish
from mnqcore.simulator.passing import hold, wait
from mnqcore.simulator.records import ASK, LEDGER, RULES, STEP, TRADE
from mnqcore.tape.records import BAR, ORDER

RAN = 0
"""The lane reached the bar asked for, or its end."""
FULL = 2
"""The trade buffer needs room."""

BAD_ACTION, BAD_SIZE = -1, -2
"""An action is no Action; a size is below 0."""
TRADES_A_STEP = 4
"""A reversal, then a stop on the entry bar: two; room to spare."""

_CLOSE = int(Action.CLOSE)
_STOP = int(ExitReason.STOP)
_TARGET = int(ExitReason.TARGET)
_MICRO = 1e6


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
            wait(led, until, actions, equity)
        elif led.ended == 0 and led.latched_day != led.day:
            hold(led, law, tape, breaks, until, actions, equity)
        t = led.bar
        if t < until:  # may still be a quiet bar: one after a breach, say
            if led.trades + 2 > trades.shape[0]:
                return FULL
            size, carried = sizes[t] if given else -1, orders[t + 1].carry_open
            if (
                take(led, law, tape[t], orders[t], tape[t + 1], carried, lane, actions[t], size, trades, asks[0])
                == ASKS
            ):
                return ASKS
            denied[lane, led.step_denied] += 1
            led.bar = t + 1
        if led.bar == led.last or (led.ended != 0 and led.position == 0):
            finish(led, law, tape, lane, trades)
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
        now, order, following = tape[led.bar], orders[led.bar], tape[led.bar + 1]
        carried = orders[led.bar + 1].carry_open
        ask, booked = asks[asking], trades[lane]
        if take(led, law, now, order, following, carried, lane, actions[lane], -1, booked, ask) == ASKS:
            asking += 1
            continue
        denied[lane, led.step_denied] += 1
        led.bar += 1
        if led.bar == led.last or (led.ended != 0 and led.position == 0):
            finish(led, law, tape, lane, trades[lane])
        # Lanes lie far apart, and waiting for memory would be half of the next step's time. What begins with bar + 2 is
        # the end of bar + 1, too: a record can lie in two lines of a cache.
        fetch_ahead(tape, led.bar + 2)
        fetch_ahead(orders, led.bar + 1)
        fetch_ahead(orders, led.bar + 2)
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


_tape, _orders, _law, _ledger = (array_at(kind) for kind in (BAR, ORDER, RULES, LEDGER))
_asks, _steps, _actions, _flags = (array_at(kind) for kind in (ASK, STEP, np.int8, np.bool_))
_trades, _denied = array_at(TRADE, TRADES_A_STEP), array_at(np.int64, len(Denial))


@compiled
def move(world: Any, actions: Any, sizes: Any) -> int:
    """Do what `step` does, by given actions and with answers; BAD_ACTION or BAD_SIZE where one is out of its range.

    `world`: what `by_address` says of the arguments of `step`, in their order. `actions`: int64 (lanes,); empty when
    the same step is called again. `sizes`: int64, answers to the lanes that asked, in their order; else empty.
    """
    ledger = _ledger(world[3, 0], world[3, 1])
    taken = _actions(world[4, 0], world[4, 1])
    asks = _asks(world[8, 0], world[8, 1])
    for lane in range(actions.shape[0]):
        if actions[lane] < 0 or actions[lane] > _CLOSE:
            return BAD_ACTION
        taken[lane] = actions[lane]
    for number in range(sizes.shape[0]):
        if sizes[number] < 0:  # the lane would ask again, for ever
            return BAD_SIZE
        ledger[asks[number].lane].answer = sizes[number]
    asking: int = step(
        _tape(world[0, 0], world[0, 1]),
        _orders(world[1, 0], world[1, 1]),
        _law(world[2, 0], world[2, 1]),
        ledger,
        taken,
        _flags(world[5, 0], world[5, 1]),
        _trades(world[6, 0], world[6, 1]),
        _denied(world[7, 0], world[7, 1]),
        asks,
        _steps(world[9, 0], world[9, 1]),
    )
    return asking
