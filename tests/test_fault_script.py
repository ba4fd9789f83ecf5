"""The fault script of the simulated broker: read strictly; each line strikes once; queries keep telling the truth."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from mnqcore.api import port
from mnqcore.api.port import BracketOrder, Order, Role, Status
from mnqcore.testing.broker_cases import CASES
from mnqcore.trading.recorded import recorded
from mnqplugins.brokers._faults import GRAMMAR, parse
from mnqplugins.brokers._replay import Replay, Tape, terms
from mnqplugins.brokers._script import Script
from mnqplugins.brokers.simulated import Simulated
from tests.venues import STRATEGY

EXAMPLES = {
    "KIND": "filled", "ROLE": "stop", "PRICE": "close", "CODE": "110", "BARS": "3", "CONTRACTS": "1", "SIGNED": "-1",
    "TICKS": "+1", "SECONDS": "-5",
}  # fmt: skip


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    file = tmp_path_factory.mktemp("strategy") / "strategy.toml"
    file.write_text(STRATEGY)
    return Tape(recorded(file), None, None)


class Play:
    """A replay with a script, and a long bracket in it."""

    def __init__(self, tape, *faults):
        self.replay = Replay(tape, terms(tape.recorded, "SIM1", None, None), Script(faults, tape.columns, 0.25))
        self.told, self.items, self.count = [], [], 0

    def bars(self, count=1):
        for _ in range(count):
            self.replay.step()
            self.told += self.replay.take()
        self.items = self.replay.items
        return self

    def send(self, *orders):
        self.replay.submit(BracketOrder(orders=orders), self.replay.clock)
        self.told += self.replay.take()

    def bracket(self, contracts=1):
        self.count += 1
        ref, close = f"e{self.count}", next(iter(self.replay.exchange.orders.closes.values()))[0]
        given = {"contract": "MNQH24", "contracts": contracts}
        child = {"side": -1, "parent": ref, "group": ref, **given}
        self.send(
            Order(ref=ref, role=Role.ENTRY, side=1, **given),
            Order(ref=f"{ref}.s", role=Role.STOP, price=close - 4000, **child),
            Order(ref=f"{ref}.t", role=Role.TARGET, price=close + 4000, **child),
        )
        return self

    def exit(self, contracts=1):
        given = {"contract": "MNQH24", "contracts": contracts}
        self.send(Order(ref=f"x{self.count}", role=Role.EXIT, side=-1, group=f"e{self.count}", **given))
        return self

    def of(self, kind):
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def held(self):
        return self.replay.exchange.account.held("MNQH24")

    @property
    def open(self):
        return {state.ref: state for state in self.replay.exchange.orders.open}

    @property
    def executions(self):
        return self.replay.exchange.account.executions()


def names(told):
    return [type(event).__name__ for event in told]


# How it is written.


@pytest.mark.parametrize("form", GRAMMAR)
def test_every_form_is_read(form):
    text = " ".join(EXAMPLES.get(word, word) for word in form.split())

    fault = parse(f"bar 12: {text}")

    assert (fault.bar, fault.form) == (12, form)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("drop filled", 'is not of the form "bar N: FAULT"'),
        ("bar 0: drop filled", "is not of the form"),
        ("bar 12: drp filled", "no fault 'drp'; did you mean 'drop'?"),
        ("bar 12: drop fills", "'fills' is not one of accepted, working"),
        ("bar 12: delay filled", "1 words follow, not 2; known: 'delay KIND BARS'"),
        ("bar 12: delay filled 0", "'0' is not a number of bars"),
        ("bar 12: trade 1", "'1' is not contracts with their sign"),
        ("bar 12: revise volume +1", "'volume' is not open, high, low or close"),
        ("bar 12: partial 1 never", "'never' is not 'cancel'"),
        ("bar 12: cancel it", "'it' is not one of entry, stop, target, exit"),
        ("bar 12:  ", "is not of the form"),
    ],
)
def test_a_bad_line_is_refused_with_what_is_known(line, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Simulated(faults=(line,))


@pytest.mark.parametrize("speed", ["", "fast", "0x", "-1x", "60", "1e3x", "60X"])
def test_a_speed_is_max_or_a_multiple_of_real_time(speed):
    with pytest.raises(ValueError, match="speed must be"):
        Simulated(speed=speed)


@pytest.mark.parametrize("name", ["start", "end"])
def test_bounds_are_times(name):
    with pytest.raises(ValueError, match=f"{name} must be a date or time"):
        Simulated(**cast("Any", {name: "yesterday"}))


# What it does.


def test_without_faults_a_bracket_fills_and_is_protected(tape):
    play = Play(tape).bars().bracket().bars()

    assert names(play.told) == ["Accepted"] * 3 + ["Working", "Filled", "Working", "Working", "Charged"]
    assert play.held == 1


def test_drop_leaves_the_truth(tape):
    play = Play(tape, "bar 2: drop filled").bars().bracket().bars()

    assert play.of(port.Filled) == []
    assert (play.held, len(play.executions)) == (1, 1)


def test_delay_tells_it_bars_later(tape):
    play = Play(tape, "bar 2: delay filled 3").bars().bracket().bars(3)
    assert play.of(port.Filled) == []

    play.bars()

    assert len(play.of(port.Filled)) == 1


def test_duplicate_tells_it_twice(tape):
    play = Play(tape, "bar 2: duplicate filled").bars().bracket().bars()

    first, second = play.of(port.Filled)
    assert first == second
    assert play.held == 1


def test_reorder_reverses_what_comes_together(tape):
    play = Play(tape, "bar 2: reorder").bars().bracket().bars()

    assert names(play.told)[4:] == ["Charged", "Working", "Working", "Filled"]


def test_partial_fills_the_rest_with_the_next_bar(tape):
    play = Play(tape, "bar 2: partial 1").bars().bracket(3).bars()
    assert (play.held, play.open["e1.s"].contracts, play.open["e1"].filled) == (1, 1, 1)

    play.bars()

    assert (play.held, play.open["e1.s"].contracts, play.open["e1.s"].status) == (3, 3, Status.WORKING)
    assert [event.contracts for event in play.of(port.Resized)] == [1, 1, 3, 3]


def test_partial_cancels_the_rest(tape):
    play = Play(tape, "bar 2: partial 2 cancel").bars().bracket(3).bars(2)

    assert (play.held, play.open["e1.s"].contracts) == (2, 2)
    assert [event.ref for event in play.of(port.Cancelled)] == ["e1"]


def test_reject_entry_takes_its_children_along(tape):
    play = Play(tape, "bar 1: reject entry").bars().bracket().bars()

    assert [(event.ref, event.code) for event in play.of(port.Rejected)] == [("e1", "201")]
    assert {event.ref for event in play.of(port.Cancelled)} == {"e1.s", "e1.t"}
    assert (play.open, play.held) == ({}, 0)


def test_reject_stop_leaves_the_position_naked(tape):
    play = Play(tape, "bar 1: reject stop 110").bars().bracket().bars()

    assert [(event.ref, event.code) for event in play.of(port.Rejected)] == [("e1.s", "110")]
    assert (list(play.open), play.held) == (["e1.t"], 1)


def test_swallow_says_nothing_ever(tape):
    play = Play(tape, "bar 1: swallow entry").bars().bracket().bars(3)

    assert (play.told, play.open, play.held) == ([], {}, 0)
    assert play.replay.exchange.orders.completed == []


def test_cancel_outside(tape):
    play = Play(tape, "bar 3: cancel stop").bars().bracket().bars(2)

    assert [(event.ref, event.code) for event in play.of(port.Cancelled)] == [("e1.s", "outside")]
    assert play.held == 1


def test_a_parked_stop_protects_nothing(tape):
    play = Play(tape, "bar 3: park stop").bars().bracket().bars(2)
    assert play.of(port.Parked)[0].ref == "e1.s"
    assert play.open["e1.s"].status is Status.PENDING
    low = min(row[2] for row in tape._ticks)
    play.replay.exchange.orders._alive["2"].order = Order(
        ref="e1.s", role=Role.STOP, contract="MNQH24", side=-1, contracts=1, price=low + 1_000_000
    )

    play.bars(3)

    assert play.held == 1


def test_trade_by_hand(tape):
    play = Play(tape, "bar 2: trade -2").bars(2)

    (event,) = play.of(port.Filled)
    assert (event.execution.ref, event.execution.side, event.execution.contracts) == ("", -1, 2)
    assert play.held == -2


def test_an_order_by_hand_fills_by_its_price(tape):
    play = Play(tape, "bar 2: order +1 -4000", "bar 4: order -1 -4000").bars(3)
    assert [(state.ref, state.role) for state in play.replay.exchange.orders.open] == [("", None)]

    play.bars(2)

    assert play.held == -1
    assert [each.ref for each in play.executions] == [""]


def test_liquidation_closes_and_cancels(tape):
    play = Play(tape, "bar 3: liquidate").bars().bracket().bars(2)

    assert [each.forced for each in play.executions] == [False, True]
    assert (play.held, play.open) == (0, {})
    assert {event.code for event in play.of(port.Cancelled)} == {"liquidation"}


def test_a_correction_moves_money_not_the_position(tape):
    plain = Play(tape).bars().bracket().bars(2)
    play = Play(tape, "bar 3: correct +4").bars().bracket().bars(2)

    first, second = play.of(port.Filled)
    assert (second.execution.id, second.execution.revision) == (first.execution.id, 1)
    assert second.execution.price == first.execution.price + 4
    assert len(play.executions) == play.held == 1
    assert play.replay.exchange.account.equity == plain.replay.exchange.account.equity - 4 * 500_000


def test_a_bust_takes_the_fill_back(tape):
    play = Play(tape, "bar 3: bust").bars().bracket().bars(2)

    assert play.of(port.Filled)[-1].execution.contracts == 0
    assert play.held == 0
    assert play.replay.exchange.account.equity == 25_000_000_000
    assert [event.commission for event in play.of(port.Charged)] == [620_000, 0]


def test_silent_bars_trade_and_are_not_delivered(tape):
    play = Play(tape, "bar 2: silent 3").bars().bracket().bars(4)

    assert [bool(item.rows) for item in play.items] == [True, False, False, False, True]
    assert play.held == 1
    assert all(item.rows for item in play.replay.missed(None))


def test_a_late_bar_comes_later(tape):
    play = Play(tape, "bar 2: late 2").bars(4)

    starts = [item.start if item.rows else None for item in play.items]
    slots = [tape.slot(number).start for number in range(4)]
    assert starts == [slots[0], None, slots[2], slots[1], slots[3]]


def test_a_revised_bar_comes_again_with_other_values(tape):
    play = Play(tape, "bar 2: revise close +40").bars(3)

    first, second = play.items[1:3]
    old, new = (dict(zip(tape.columns, item.rows[0], strict=True)) for item in (first, second))
    assert first.start == second.start
    assert new["close"] == old["close"] + 10.0
    assert new["low"] <= new["close"] <= new["high"]


def test_a_duplicate_bar_comes_twice(tape):
    play = Play(tape, "bar 2: duplicate bar").bars(3)

    assert play.items[1] == play.items[2]
    assert len(play.items) == 4


def test_a_forming_bar_is_marked_and_closes(tape):
    play = Play(tape, "bar 2: forming").bars(3)

    assert [item.forming for item in play.items] == [False, True, False, False]
    forming = dict(zip(tape.columns, play.items[1].rows[0], strict=True))
    assert forming["high"] == forming["low"] == forming["open"] == forming["close"]


def test_faults_wait_for_their_occasion_and_strike_once(tape):
    play = Play(tape, "bar 1: cancel stop").bars(5).bracket().bars()
    assert len(play.of(port.Cancelled)) == 1

    play.exit().bars().bracket().bars(3)

    assert play.open["e2.s"].status is Status.WORKING


# Orders that meet.


def test_an_exit_into_a_group_that_is_done_is_cancelled(tape):
    play = Play(tape).bars().bracket().bars().exit().bars()
    play.send(Order(ref="again", role=Role.EXIT, side=-1, group="e1", contract="MNQH24", contracts=1))

    play.bars()

    assert play.held == 0
    assert play.of(port.Cancelled)[-1].code == "oca"


def test_two_exits_outside_a_group_turn_the_position_round(tape):
    play = Play(tape).bars().bracket().bars()
    for ref in ("x", "y"):
        play.send(Order(ref=ref, role=Role.EXIT, side=-1, contract="MNQH24", contracts=1))

    play.bars()

    assert play.held == -1


def test_an_entry_expires_with_its_session(tape):
    play = Play(tape)
    sessions = tape.recorded.session
    last = next(at for at in range(1, len(sessions)) if sessions[at] != sessions[at - 1])
    play.bars(last).bracket().bars()

    assert play.held == 0
    assert [(event.ref, event.code) for event in play.of(port.Cancelled)] == [
        ("e1", "expired"), ("e1.s", "parent"), ("e1.t", "parent"),
    ]  # fmt: skip


def test_an_exit_is_good_beyond_its_session(tape):
    play = Play(tape)
    sessions = tape.recorded.session
    last = next(at for at in range(1, len(sessions)) if sessions[at] != sessions[at - 1])
    play.bars(last - 1).bracket().bars().exit().bars()

    assert play.held == 0
    assert play.executions[-1].time == tape.slot(last).start


def test_after_the_last_bar_exits_fill_at_its_close_and_entries_expire(tape):
    play = Play(tape).bars(tape.last - 2).bracket().bars(2)
    assert play.replay.over
    close = play.replay.exchange.orders.closes["MNQH24"][0]

    play.exit().bracket()

    assert play.executions[-1].price == close - 1
    assert (play.held, play.open) == (0, {})


def test_the_script_and_the_cases_are_documented_as_they_are():
    page = (Path(__file__).parents[1] / "docs" / "brokers.md").read_text(encoding="utf-8")

    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row.startswith("| B")] == [f"| {case.number} | {case.rule} |" for case in CASES]
    faults = rows[rows.index("| fault | what happens |") + 2 : rows.index("| case | rule |")]
    assert faults == [f"| `{form}` | {what} |" for form, what in GRAMMAR.items()]
