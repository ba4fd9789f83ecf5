"""Failures of orders, F01 to F25, each named by its id (docs/failures.md lists all, and what shows them).

Some run as a session at a venue of its own, whose script lets it go wrong; some at a desk, message by message.
"""

import sys

import pytest

from mnqcore.api import port
from mnqcore.api.port import Role, Status
from mnqcore.trading.memory import State
from tests.desks import CONTRACT, STOP, Rig
from tests.scenes import calm, data_of, maker, play, shape

__all__ = ["calm", "maker", "play"]
forked = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
BUY, SELL = 1, 2


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    made.wait(1)
    assert made.state is State.ACTIVE
    yield made
    made.close()


def hold(rig, **moves):
    """Let a rig buy two contracts and hold them."""
    rig.bar(BUY)
    rig.bar(**moves)
    assert (rig.venue.held(), rig.memory.orders.position()) == (2, {CONTRACT: 2})


def sent(rig, *roles):
    return [order for _, _, bracket in rig.sent for order in bracket.orders if order.role in roles]


def test_f03_an_order_that_the_broker_swallows_is_asked_for_then_unknown_and_never_sent_again(rig):
    rig.fate = "lost"
    rig.bar(BUY)
    rig.wait(30)
    assert rig.state is not State.HALTED
    rig.wait(30)
    assert rig.state is State.HALTED
    assert len(sent(rig, Role.ENTRY)) == 1
    assert any("never answered" in message for _, message in rig.alerts)
    assert [one.status for one in rig.memory.orders.alive(Role.ENTRY)] == [Status.UNKNOWN]


def test_f04_a_fill_before_its_acknowledgement_counts_once(rig):
    rig.bar(BUY)
    rig.venue.fill_market()
    rig.venue.told.reverse()
    rig.deliver()
    assert rig.memory.orders.position() == {CONTRACT: 2}
    assert rig.desk.protection.covered
    assert rig.state is State.ACTIVE


@forked
def test_f05_an_execution_that_is_told_twice_counts_once(play, calm):
    twice = [f"bar {bar}: duplicate filled" for bar in (1, 12, 18, 21)]
    assert play(*twice).trades == calm.trades


@forked
def test_f06_a_corrected_price_is_booked_and_told(play, calm):
    found = play("bar 19: correct +1")
    assert found.state == "ACTIVE"
    assert shape(found) == shape(calm)
    assert calm.trades[1]["net"] - found.trades[1]["net"] == pytest.approx(1.0)  # a tick of two contracts
    assert any("corrected a fill" in alert for alert in found.alerts)


@forked
def test_f06_a_fill_that_is_taken_back_halts(play):
    found = play("bar 19: bust")
    assert found.state == "HALTED"
    assert any("a fill was taken back" in alert for alert in found.alerts)
    assert max(data["contracts"] for data in data_of(found, "intent") if data["role"] == "entry") == 2


def test_f07_partial_fill_then_cancel_races_a_fill(rig):
    rig.venue.partial = 1
    rig.bar(BUY)
    rig.lost_cancels = 1
    rig.bar()  # one contract fills, the rest is to be cancelled, and fills first
    rig.venue.fill_market()
    rig.deliver()
    assert rig.memory.orders.position() == {CONTRACT: 2}
    assert rig.venue.covered()
    assert rig.desk.protection.covered


@forked
def test_f07_what_is_left_of_an_entry_is_cancelled_and_its_stop_is_for_what_filled(play, calm):
    found = play("bar 11: partial 1", "bar 28: partial 1")
    assert [one[3] for one in shape(found)] == [1, 2, 1, *[one[3] for one in shape(calm)][3:]]
    assert (found.state, found.alerts) == ("ACTIVE", [])


def test_f08_a_cancellation_that_comes_too_late_is_asked_about_and_the_fill_counts(rig):
    rig.venue.partial, rig.lost_cancels = 1, 1
    rig.bar(BUY)
    rig.bar()
    entry = sent(rig, Role.ENTRY)[0].ref
    rig.venue.fill_market()  # whole, before the cancellation arrives
    rig.venue.cancel(entry)
    rig.venue.told.reverse()
    rig.deliver()
    assert rig.memory.orders.position() == {CONTRACT: 2}
    assert rig.memory.orders.by_ref[entry].status is Status.FILLED
    assert rig.desk.protection.covered
    assert rig.state is State.ACTIVE


def test_f09_exit_and_stop_in_one_group_cannot_both_fill(rig):
    hold(rig)
    rig.bar(SELL)
    assert sent(rig, Role.EXIT)[0].group == sent(rig, Role.STOP)[0].group
    rig.bar(low=STOP + 10)
    assert rig.venue.held() in (0, -2)  # flat, or turned round by the entry that was asked for


def test_f09_where_both_fill_all_the_same_the_position_is_closed_once_and_it_halts(rig):
    hold(rig)
    rig.venue.groups = False
    rig.desk.flatten("a person", rig.now, rig.mono)
    effects = rig.memory.commit()
    rig.carry_out(effects)
    for live in rig.venue.alive(Role.EXIT, Role.STOP):
        if live.works:
            rig.venue._fill(live, live.left, rig.venue.price)
    rig.deliver()
    rig.wait(10)
    rig.venue.fill_market()
    rig.deliver()
    rig.wait(10)
    assert rig.venue.held() == 0
    assert rig.memory.orders.position() == {}


@forked
def test_f10_a_stop_that_is_rejected_closes_the_position_and_halts(play):
    found = play("bar 1: reject stop 201")
    assert found.state == "HALTED"
    assert shape(found) == [(10, 11, "signal", 2)]


@forked
def test_f11_a_stop_that_somebody_cancels_is_put_back_once(play, calm):
    found = play("bar 19: cancel stop")
    assert (found.state, found.trades) == ("ACTIVE", calm.trades)
    assert any("put in its place again" in alert for alert in found.alerts)


@forked
def test_f11_the_second_time_the_position_is_closed_and_it_halts(play):
    found = play("bar 18: cancel stop", "bar 19: cancel stop")
    assert found.state == "HALTED"
    assert shape(found)[-1] == (17, 19, "signal", 2)


def test_f12_children_that_the_broker_lost_are_missed_within_seconds(rig):
    plain = rig.venue.submit
    rig.venue.submit = lambda bracket: plain(port.BracketOrder(orders=bracket.orders[:1]))
    rig.bar(BUY)
    rig.bar()
    rig.venue.submit = plain
    rig.wait(3)
    rig.venue.fill_market()
    rig.deliver()
    assert rig.state is State.HALTED
    assert rig.venue.held() == 0


def test_f13_a_stop_that_is_parked_protects_nothing(rig):
    hold(rig)
    rig.venue.park_stop()
    rig.deliver()
    assert not rig.desk.protection.covered
    rig.wait(3)
    assert rig.state is State.HALTED
    rig.venue.fill_market()
    rig.deliver()
    assert rig.venue.held() == 0


def test_f14_a_stop_that_was_reached_and_does_not_fill_is_left_by_market(rig):
    hold(rig)
    rig.venue.sticks = True
    rig.bar(low=STOP + 10, closed=-STOP - 5)
    assert rig.venue.held() == 2
    rig.wait(21)
    assert rig.state is State.HALTED
    assert any("was reached and does not fill" in message for _, message in rig.alerts)
    rig.venue.fill_market()
    rig.deliver()
    assert rig.venue.held() == 0


def test_f14_an_exit_that_does_not_fill_is_told(rig):
    hold(rig)
    rig.carry_out(rig.desk.flatten("a person", rig.now, rig.mono))
    rig.wait(25)
    assert [message for level, message in rig.alerts if level == "error"] == [
        f"exit {sent(rig, Role.EXIT)[0].ref} does not fill: the position is still held"
    ]
    assert len(sent(rig, Role.EXIT)) == 1


def test_f16_nothing_is_sent_while_the_broker_cannot_be_reached(rig):
    hold(rig)
    before = len(rig.sent)
    rig.disconnect()
    rig.bar(SELL)
    assert rig.state is State.DISCONNECTED
    assert [
        order.role for _, _, bracket in rig.sent[before:] for order in bracket.orders if order.role is Role.ENTRY
    ] == []
    rig.restore()
    rig.wait(10)
    assert rig.memory.orders.position() in ({CONTRACT: 2}, {})
    assert rig.venue.covered()


def test_f17_a_ref_is_never_used_twice_and_finds_its_order_whatever_the_broker_calls_it(rig):
    hold(rig)
    rig.venue.count = 0  # the broker begins to count anew
    rig.killed()
    rig.wait(10)
    rig.bar(SELL)
    rig.bar()
    refs = [order.ref for _, _, bracket in rig.sent for order in bracket.orders]
    assert len(refs) == len(set(refs))
    assert rig.memory.orders.position().get(CONTRACT, 0) == rig.venue.held()


def test_f18_an_order_that_is_said_to_be_gone_and_is_not_is_unknown_until_it_is_asked_for(rig):
    rig.bar(BUY)
    rig.hear(port.Unknown(ref=sent(rig, Role.ENTRY)[0].ref, time=rig.now, code="109", why="Cancelled, it says"))
    rig.bar()
    rig.wait(3)
    assert rig.memory.orders.position() == {CONTRACT: 2}
    assert rig.desk.protection.covered


@forked
def test_f20_an_entry_that_is_rejected_is_not_sent_again_and_the_third_halts(play):
    found = play("bar 1: reject entry 201", "bar 12: reject entry 201", "bar 19: reject entry 201")
    assert (found.state, found.trades) == ("HALTED", [])
    assert len([data for data in data_of(found, "intent") if data["role"] == "entry"]) == 3
    assert any("3 orders in a row were rejected" in alert for alert in found.alerts)


def test_f21_a_stop_that_the_broker_makes_smaller_no_longer_covers(rig):
    hold(rig)
    stop = sent(rig, Role.STOP)[0].ref
    rig.venue.orders[stop].contracts = 1
    rig.hear(port.Resized(ref=stop, contracts=1, time=rig.now))
    assert not rig.desk.protection.covered
    rig.wait(3)
    assert rig.state is State.HALTED
    rig.venue.fill_market()
    rig.deliver()
    assert rig.venue.held() == 0


@forked
@pytest.mark.parametrize("fate", ["drop charged", "delay charged 3"])
def test_f22_a_commission_that_is_late_or_missing_is_reckoned_meanwhile(play, calm, fate):
    found = play(f"bar 1: {fate}", f"bar 20: {fate}")
    assert (found.state, found.trades) == ("ACTIVE", calm.trades)


def test_f22_a_commission_that_is_another_is_booked(rig):
    rig.venue.fee = 2_000_000
    hold(rig)
    assert rig.memory.books.ledger["equity"][0] == rig.venue.equity()
    rig.bar(SELL)
    rig.bar()
    assert rig.memory.books.ledger["equity"][0] == rig.venue.equity()


def test_f23_a_strategy_that_runs_away_is_halted_until_a_person_says_otherwise(tmp_path):
    rig = Rig(tmp_path, "trade.limits.orders_per_day=4")
    try:
        rig.wait(1)
        for bar in range(12):
            rig.bar(BUY if bar % 2 else SELL)
        assert rig.state is State.HALTED
        entries = len(sent(rig, Role.ENTRY))
        assert entries == 4
        rig.killed()
        rig.wait(10)
        rig.bar(BUY)
        assert (rig.state, len(sent(rig, Role.ENTRY))) == (State.HALTED, entries)
    finally:
        rig.close()


def test_f24_before_the_close_no_entry_is_sent_and_what_is_held_is_left(tmp_path):
    rig = Rig(tmp_path, start="2025-03-12 20:45")
    try:
        rig.wait(1)
        rig.bar(BUY)
        for _ in range(3):
            rig.bar(BUY)
        assert rig.venue.held() == 0
        assert all(rig.clock.in_session(order_time(rig, order)) for order in sent(rig, Role.ENTRY))
    finally:
        rig.close()


def order_time(rig, order):
    return rig.memory.orders.by_ref[order.ref].bar


@forked
def test_f25_a_position_that_turns_round_is_two_orders_with_a_stop_each(calm):
    intents = data_of(calm, "intent")
    left = next(data for data in intents if data["role"] == "exit")
    entry = next(data for data in intents if data["role"] == "entry" and data["bar"] == left["bar"])
    stops = {data["parent"]: data for data in intents if data["role"] == "stop"}
    assert (entry["side"], entry["contracts"], left["contracts"]) == (left["side"], 2, 2)
    assert stops[entry["ref"]]["side"] == -entry["side"]
    ended = [data["ref"] for data in data_of(calm, "event") if data["type"] == "Cancelled"]
    assert f"{left['group'].removesuffix('.g')}.s" in ended
    before, after = [one for one in calm.trades if one["entry_bar"] in (49, 51)]
    assert (before["commission"], after["commission"]) == (2.48, 2.48)
