"""Failures of data and time, F41 to F52, each named by its id (docs/failures.md lists all, and what shows them)."""

import os
import signal
import sys
import time

import pytest

from mnqcore.api import port
from mnqcore.api.port import Role
from mnqcore.trading.desk import Standing
from mnqcore.trading.memory import State
from tests.desks import Rig
from tests.mortal import STRATEGY, faults, naked, room
from tests.scenes import calm, data_of, kept, maker, play
from tests.test_scenarios_connection import held, until

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


def entries(rig):
    return [order for _, _, bracket in rig.sent for order in bracket.orders if order.role is Role.ENTRY]


def test_f41_where_no_bar_comes_nothing_is_opened_until_one_does(rig):
    rig.bar()
    rig.wait(400)
    assert rig.state is State.DEGRADED
    rig.bar(BUY)  # an old one
    assert (rig.state, entries(rig)) == (State.DEGRADED, [])
    rig.bar(BUY)
    assert rig.state.value == "ACTIVE"
    rig.bar(BUY)
    assert len(entries(rig)) == 1


@forked
def test_f42_f43_each_bar_is_decided_on_once_however_it_comes(play, calm):
    found = play("bar 12: forming", "bar 14: duplicate bar", "bar 20: revise close +4", "bar 30: revise high +8")
    assert found.trades == calm.trades
    decided = [data["bar"] for data in data_of(found, "decision")]
    assert decided == sorted(set(decided)) == [data["bar"] for data in data_of(calm, "decision")]
    verdicts = [data["verdict"] for data in data_of(found, "odd-bar")]
    assert sorted(verdicts) == ["duplicate", "forming", "revised", "revised"]


@forked
def test_f43_a_late_bar_is_never_decided_on(play, calm):
    found = play("bar 19: late 2")
    late = [data["time"] for data in data_of(found, "odd-bar") if data["verdict"] == "late"]
    assert len(late) == 1
    assert late[0] not in [data["bar"] for data in data_of(found, "decision")]
    assert len(data_of(found, "decision")) == len(data_of(calm, "decision")) - 1


@forked
def test_f43_bars_that_never_come_leave_what_the_stop_does_to_the_broker(play, calm):
    found = play("bar 19: silent 2")
    assert [one["net"] for one in found.trades] == [one["net"] for one in calm.trades]
    assert found.state == "ACTIVE"


def test_f46_what_the_broker_says_must_stop_stops_it(rig):
    rig.hear(port.Warned(time=rig.now, code="10197", why="competing live session", stop=True))
    assert rig.state is State.HALTED
    rig.bar(BUY)
    assert entries(rig) == []


def test_f47_a_clock_that_is_wrong_opens_nothing(rig):
    rig.desk.standing = Standing(skew=2.5)
    rig.bar(BUY)
    assert entries(rig) == []
    assert [event.data["code"] for event in rig.journaled("denied")] == ["clock-skew"]
    rig.desk.standing = Standing(skew=-2.0)
    rig.bar(BUY)
    assert len(entries(rig)) == 1


@pytest.mark.proof
@forked
def test_f50_after_a_sleep_nothing_is_decided_on_old_bars(maker):
    with room() as folder:
        sets = [faults(), 'trade.broker.speed="600x"', "trade.limits.max_bar_age=500", "bracket.stop_ticks=400",
                "bracket.target_ticks=400"]  # fmt: skip
        maker.start(folder, STRATEGY, sets=sets)
        until(lambda: held(folder), 60)
        pid = int((folder / "pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        time.sleep(5.0)  # ten bars
        os.kill(pid, signal.SIGCONT)
        found = kept(maker.end(folder))
        assert naked(folder) == []
    bars = [data for data in data_of(found, "bar") if "decides" in data]
    old = [data["number"] for data in bars if not data["decides"]]
    assert len(old) >= 6
    assert old == list(range(old[0], old[0] + len(old)))
    assert {data["number"] for data in data_of(found, "decision")}.isdisjoint(old)
    assert found.state in ("ACTIVE", "DEGRADED")


@forked
def test_f52_a_loss_limit_stays_reached_across_a_kill(play, maker):
    limit = ["risk.max_daily_loss=80"]
    whole = play(sets=limit)
    with room() as folder:
        assert maker.run(folder, STRATEGY, sets=[faults(), *limit], die=["bar-committed", 50]).died
        again = maker.run(folder, STRATEGY, sets=[faults(), *limit])
    assert again.trades == whole.trades


def test_f52_in_live_it_waits_for_a_person(tmp_path):
    rig = Rig(tmp_path, "risk.max_daily_loss=30", mode="live")
    try:
        rig.wait(1)
        rig.bar(BUY)
        rig.bar(low=200, closed=-200)
        rig.bar(BUY)
        assert rig.state is State.HALTED
        rig.killed()
        rig.wait(5)
        rig.bar(BUY)
        assert rig.state is State.HALTED
        assert len(entries(rig)) == 1
    finally:
        rig.close()
