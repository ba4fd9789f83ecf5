"""Failures of storage, configuration, code and model, F53 to F67, each named by its id (docs/failures.md lists all)."""

import sys
import time

import pytest

from mnqcore.api.port import Role
from mnqcore.trading.memory import State
from tests.desks import Rig
from tests.mortal import STRATEGY, Maker, faults, naked, room, session_of
from tests.scenes import calm, maker, play

__all__ = ["calm", "maker", "play"]
forked = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
BUY, SELL = 1, 2


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    made.wait(1)
    yield made
    made.close()


def roles(rig, since=0):
    return [order.role for _, _, bracket in rig.sent[since:] for order in bracket.orders]


def test_f53_with_a_full_disk_nothing_is_opened_and_what_is_held_can_be_left(rig):
    rig.bar(BUY)
    rig.bar()
    before = len(rig.sent)
    rig.journal.full = True
    rig.bar()
    assert rig.state is State.HALTED
    assert any("the journal cannot be written" in message for _, message in rig.alerts)
    rig.carry_out(rig.desk.flatten("a person", rig.now, rig.mono))
    rig.bar(BUY)
    assert roles(rig, before) == [Role.EXIT]
    assert rig.venue.held() == 0
    assert rig.memory.orders.position() == {}


def test_f53_entries_that_wait_are_cancelled_without_a_journal(rig):
    rig.bar(BUY)
    rig.journal.full = True
    rig.carry_out(rig.desk.halt("a person", rig.now, rig.mono))
    rig.deliver()
    assert not rig.venue.alive(Role.ENTRY)


@forked
@pytest.mark.parametrize("point", [["filled-taken", 3], ["accepted-taken", 4], ["bar-committed", 17]])
def test_f53_a_session_whose_disk_is_full_halts_protected_and_goes_on_when_there_is_room(play, maker, point):
    with room() as folder:
        found = play(folder=folder, full=point)
        assert (found.state, found.run) == ("HALTED", "")
        assert [alert for alert in found.alerts if "the journal cannot be written" in alert]
        assert naked(folder) == []
        again = maker.run(folder, STRATEGY, sets=[faults()])
        assert (again.code, again.error) == (0, "")
        assert naked(folder) == []


@pytest.mark.parametrize("action", [float("nan"), 99, -1, "buy", None, RuntimeError("broken"), SystemExit(3)])
def test_f59_f60_an_agent_that_answers_nonsense_holds_and_halts_after_three(rig, action):
    class Odd:
        def act(self, row, seen):
            if isinstance(action, BaseException):
                raise action
            return action

    rig.desk.mind = Odd()
    for count in (1, 2, 3):
        rig.bar()
        assert (rig.state is State.HALTED) == (count == 3)
    assert rig.sent == []
    assert len([message for _, message in rig.alerts if message.startswith("no decision")]) == 3


def test_f59_an_agent_that_is_slow_holds(tmp_path):
    rig = Rig(tmp_path, "trade.limits.decision_seconds=0.01")

    class Slow:
        def act(self, row, seen):
            time.sleep(0.02)
            return BUY

    try:
        rig.wait(1)
        rig.desk.mind = Slow()
        for _ in range(3):
            rig.bar()
        assert (rig.state, rig.sent) == (State.HALTED, [])
    finally:
        rig.close()


def test_f59_an_agent_that_fails_now_and_then_goes_on(rig):
    for _ in range(3):
        rig.bar(RuntimeError("once"))
        rig.bar(RuntimeError("twice"))
        rig.bar(0)
    assert rig.state is State.ACTIVE


@forked
def test_f63_a_strategy_that_was_edited_is_refused_while_its_session_is_open(play, maker, calm):
    with room() as folder:
        assert maker.run(folder, STRATEGY, sets=[faults()], die=["filled-taken", 3]).died
        edited = maker.run(folder, STRATEGY, sets=[faults(), "bracket.stop_ticks=50"])
        assert edited.code == 2
        assert "begun with another strategy" in edited.error
        assert naked(folder) == []
        assert session_of(folder).exists()
        again = maker.run(folder, STRATEGY, sets=[faults()])
        assert again.trades == calm.trades


@forked
def test_f64_a_stream_of_events_that_breaks_halts_aloud(play, maker):
    with room() as folder:
        found = play(folder=folder, deaf=["filled-taken", 3])
        assert found.code == 70
        again = maker.run(folder, STRATEGY, sets=[faults()])
        assert again.state == "HALTED"
        assert naked(folder) == []


@forked
@pytest.mark.parametrize(
    "environ",
    [
        {"TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
        {"TZ": "America/St_Johns", "LANG": "C"},
        {"PYTHONHASHSEED": "1"},
        {"PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "2"},
    ],
    ids=["f66 Tokyo", "f66 Newfoundland", "f67 hash seed", "f67 threads"],
)
def test_f66_f67_the_host_changes_no_trade(calm, environ):
    made = Maker(**environ)
    try:
        with room() as folder:
            assert made.run(folder, STRATEGY, sets=[faults()]).trades == calm.trades
    finally:
        made.close()
