"""Failures of connection, broker and processes, F26 to F40, each named by its id (docs/failures.md lists all)."""

import os
import signal
import sys
import time

import pytest

from mnqcore.api import port
from mnqcore.api.port import Role
from mnqcore.trading.memory import State
from mnqcore.trading.reconcile import Truth, reconcile
from tests.desks import CONTRACT, Rig
from tests.mortal import STRATEGY, ask_venue, faults, naked, room, session_of
from tests.scenes import calm, data_of, maker, play, shape

__all__ = ["calm", "maker", "play"]
forked = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
BUY, SELL = 1, 2
SLOW = ('trade.broker.speed="3000x"', "trade.limits.max_bar_age=600")
"""A bar in a tenth of a second."""


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    made.wait(1)
    assert made.state is State.ACTIVE
    yield made
    made.close()


def hold(rig):
    rig.bar(BUY)
    rig.bar()
    assert rig.memory.orders.position() == {CONTRACT: 2}


def entries(rig):
    return [order for _, _, bracket in rig.sent for order in bracket.orders if order.role is Role.ENTRY]


def exits(rig):
    return [order for _, _, bracket in rig.sent for order in bracket.orders if order.role is Role.EXIT]


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


# The connection.


@forked
def test_f26_what_fills_while_the_connection_is_lost_is_found_and_booked(play, calm):
    found = play("bar 19: disconnect 4")  # the target of the second trade fills meanwhile
    assert (found.state, found.trades) == ("ACTIVE", calm.trades)
    states = [data["state"] for data in data_of(found, "state")]
    assert states[:5] == ["RECONCILING", "ACTIVE", "DISCONNECTED", "RECONCILING", "ACTIVE"]


def test_f26_the_same_where_what_was_said_meanwhile_is_never_said_again(rig):
    hold(rig)
    rig.disconnect()
    rig.venue.move(rig.venue.price - 45)
    assert rig.venue.held() == 0
    rig.restore(keeps=False)
    rig.wait(1)
    assert rig.memory.orders.position() == {}
    assert rig.state is State.ACTIVE


def test_f27_events_that_come_while_the_connection_counts_as_lost_are_taken_in(rig):
    hold(rig)
    rig.hear(port.Disconnected(time=rig.now, why="1100"))
    rig.venue.move(rig.venue.price - 45)
    rig.deliver()
    assert rig.memory.orders.position() == {}
    assert rig.state is State.DISCONNECTED


def test_f28_an_answer_without_positions_is_not_flat(rig):
    hold(rig)
    before = len(rig.sent)
    for _ in range(2):
        told = rig.venue.truth()
        empty = Truth(account=told.account, positions=[], open_orders=told.open_orders,
                      completed_orders=told.completed_orders, executions=told.executions)  # fmt: skip
        reconcile(rig.desk, empty, rig.now, rig.mono)
    rig.bar(SELL)
    assert rig.memory.orders.position() == {CONTRACT: 2}
    assert rig.state is State.HALTED
    assert [order for _, _, bracket in rig.sent[before:] for order in bracket.orders] == []
    assert rig.venue.covered()


def test_f29_where_the_broker_does_not_answer_nothing_is_opened(rig):
    rig.deaf = 10**6
    rig.ask("a minute has passed")
    assert rig.state is State.RECONCILING
    rig.bar(BUY)
    assert entries(rig) == []
    rig.deaf = 0
    rig.wait(2)
    assert rig.state.value == "ACTIVE"
    rig.bar(BUY)
    assert len(entries(rig)) == 1


@forked
def test_f30_a_trade_by_hand_halts_and_no_more_is_closed_than_is_left(play):
    with room() as folder:
        found = play("bar 19: trade -1", folder=folder)
        assert naked(folder) == []
    assert found.state == "HALTED"
    assert any("a fill is none of ours: -1 MNQH24" in alert for alert in found.alerts)


@forked
def test_f30_an_order_by_hand_is_left_alone(play, calm):
    found = play("bar 3: order -1 +4000")
    assert (found.state, found.trades) == ("ACTIVE", calm.trades)
    assert all(data["foreign"] == 1 for data in data_of(found, "reconciled")[1:])


def test_f30_a_position_that_nobody_explains_halts(rig):
    rig.venue.trade(3)
    rig.venue.told.clear()
    del rig.venue.executions["x1"]
    plain = rig.venue.truth

    def truth():
        return Truth(account=plain().account, positions=[port.Position(contract=CONTRACT, contracts=3)],
                     open_orders=[], completed_orders=[], executions=[])  # fmt: skip

    rig.venue.truth = truth
    rig.wait(61)
    assert rig.state is State.HALTED
    rig.bar(BUY)
    assert rig.sent == []


@forked
def test_f31_a_liquidation_halts_and_leaves_no_order_behind(play):
    with room() as folder:
        found = play("bar 19: liquidate", folder=folder)
        assert naked(folder) == []
    assert found.state == "HALTED"
    assert any("the broker liquidated: -2 MNQH24" in alert for alert in found.alerts)
    assert shape(found)[0] == (10, 12, "target", 2)


def test_f32_minutes_without_a_connection_make_no_storm_of_alerts_and_no_order(rig):
    hold(rig)
    before = len(rig.alerts), len(rig.sent)
    for _ in range(3):
        rig.disconnect()
        rig.wait(240)
        rig.restore()
        rig.wait(5)
    assert (len(rig.alerts) - before[0], len(rig.sent) - before[1]) == (0, 0)
    for _ in range(4):
        rig.bar()
    assert rig.state is State.ACTIVE


# Processes.


@forked
def test_f36_a_second_session_of_one_account_ends_and_names_the_first(maker, play):
    from tests.mortal import Maker

    with room() as folder:
        other = Maker()
        try:
            other.start(folder, STRATEGY, sets=[faults(), 'trade.broker.speed="60x"'])
            until(lambda: (session_of(folder) / "venue" / "port.json").exists(), 60)
            pid = (folder / "pid").read_text()
            second = maker.run(folder, STRATEGY, sets=[faults()])
            assert second.code == 5
            assert "another process writes this journal" in second.error
            assert f"process {pid}" in second.error
            os.kill(int(pid), signal.SIGTERM)
            other.told.readline()
        finally:
            other.close()


@forked
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("policy", ["leave", "flatten"])
def test_f37_a_signal_ends_it_and_what_is_held_is_left_with_its_stop_or_closed(maker, name, policy):
    with room() as folder:
        sets = [faults(), *SLOW, f"trade.on_exit={policy}", "bracket.stop_ticks=400", "bracket.target_ticks=400"]
        maker.start(folder, STRATEGY, sets=sets)
        until(lambda: held(folder), 60)
        os.kill(int((folder / "pid").read_text()), getattr(signal, name))
        found = maker.end(folder)
        assert (found.code, found.why, found.run) == (0, name, "")
        positions, orders = ask_venue(session_of(folder), "positions", "open_orders")
        if policy == "flatten":
            assert positions == []
        else:
            assert {one["status"] for one in orders if one["role"] == "stop"} == {"working"}
        assert naked(folder) == []


def held(folder):
    """Whether the journal of a session tells of a fill, and of none that closed it."""
    from mnqcore.trading.journal import FILE, Journal

    path = session_of(folder) / FILE
    if not path.exists():
        return False
    with Journal.read(path) as journal:
        fills = [event.data["execution"] for event in journal.events(("event",)) if event.data["type"] == "Filled"]
    return sum(fill["side"] * fill["contracts"] for fill in fills) != 0


@forked
def test_f39_a_venue_that_hangs_is_not_waited_for_for_ever(play, calm):
    found = play(freeze=["filled-taken", 3], sets=["trade.limits.ack_seconds=0.5"])
    assert found.trades == calm.trades
    assert [data["why"] for data in data_of(found, "state") if data["state"] == "RECONCILING"][1:]
    assert found.state == "ACTIVE"
