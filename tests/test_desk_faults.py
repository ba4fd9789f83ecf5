"""What went wrong once between a desk and a broker, each as the shortest way there."""

from typing import Any

import pytest

from mnqcore.api import port
from mnqcore.api.port import Role, Status
from mnqcore.trading.memory import State
from tests.desks import CONTRACT, Rig

BUY, SELL, CLOSE = 1, 2, 3


@pytest.fixture
def make(tmp_path):
    """Make a rig: make("risk.max_position=2", start=...)."""
    made: list[Any] = []

    def rig(*sets, **more):
        folder = tmp_path / f"{len(made)}"
        folder.mkdir()
        made.append(Rig(folder, *sets, **more))
        return made[-1]

    yield rig
    for one in made:
        one.close()


@pytest.fixture
def rig(make):
    return make()


@pytest.fixture
def long(rig):
    """A rig that holds two contracts, covered."""
    rig.bar(BUY)
    rig.bar()
    assert rig.venue.held() == 2
    return rig


def alive(rig, role):
    return rig.venue.alive(role)


def last(rig, kind, role=None):
    """Return the event that the venue told last, of a kind and of an order of a role."""
    told = [
        one for one in rig.venue.told
        if type(one).__name__ == kind and (role is None or rig.venue.orders[one.ref].order.role is role)
    ]  # fmt: skip
    return told[-1]


def test_a_cancellation_told_twice_loses_the_stop_once(long):
    long.venue.lose_stop()
    event = last(long, "Cancelled", Role.STOP)
    long.deliver()
    long.hear(event)
    long.deliver()

    assert long.state is State.ACTIVE
    assert [one.left for one in alive(long, Role.STOP)] == [2]


def test_a_rejection_told_thrice_counts_once(rig):
    rig.venue.refuses.add(Role.ENTRY)
    rig.bar(BUY, hears=False)
    event = last(rig, "Rejected", Role.ENTRY)
    for _ in range(3):
        rig.hear(event)

    assert rig.memory.rejections == 1
    assert rig.state is State.ACTIVE


def test_a_charge_told_twice_or_before_its_fill_is_booked_once(rig):
    rig.venue.fee = 850_000  # 0.62 was reckoned
    rig.bar(BUY)
    rig.bar(hears=False)
    charged = last(rig, "Charged")
    rig.hear(charged)
    rig.deliver()
    rig.hear(charged)
    rig.bar()

    assert int(rig.memory.books.ledger["equity"][0]) == rig.venue.equity()


def test_what_was_corrected_after_the_last_bar_outlives_a_crash(long):
    long.venue.correct(ticks=3)
    long.deliver()
    long.killed()
    long.bar()

    assert int(long.memory.books.ledger["equity"][0]) == long.venue.equity()


def test_a_fill_that_was_taken_back_costs_nothing(long):
    long.venue.correct(bust=True)
    long.deliver()
    long.bar()

    assert long.state is State.HALTED
    assert long.venue.held() == 0
    assert int(long.memory.books.ledger["equity"][0]) == long.venue.equity() == 100_000_000_000


def test_an_exit_that_did_not_get_through_counts_for_the_size(make):
    rig = make("risk.max_position=2")
    rig.bar(BUY)
    rig.bar()
    rig.fate = "lost"
    rig.bar(SELL)  # the exit is lost, the entry is not
    rig.bar(SELL)
    rig.bar(SELL)

    assert rig.venue.exposed(-1) <= 2


def test_a_flatten_is_brought_to_its_end_although_the_exit_is_rejected(long):
    long.venue.refuses.add(Role.EXIT)
    long.carry_out(long.desk.flatten("a person", long.now, long.mono))
    long.deliver()
    long.wait(5.0)
    long.venue.fill_market()
    long.deliver()

    assert long.venue.held() == 0
    assert long.state is State.REDUCING


def test_a_flatten_catches_the_entry_that_fills_after_all(rig):
    rig.bar(BUY)
    rig.lost_cancels = 1
    rig.carry_out(rig.desk.flatten("a person", rig.now, rig.mono))
    rig.venue.fill_market()
    rig.deliver()
    rig.wait(3.0)
    rig.venue.fill_market()
    rig.deliver()

    assert rig.venue.held() == 0


def test_reducing_outlives_a_lost_connection(long):
    long.carry_out(long.desk.flatten("a person", long.now, long.mono))
    long.bar()
    long.disconnect()
    long.restore()
    long.bar(BUY)

    assert long.state is State.REDUCING
    assert not alive(long, Role.ENTRY)


@pytest.mark.parametrize("filled", [True, False])
def test_a_flatten_that_was_killed_goes_on(rig, filled):
    rig.bar(BUY)
    if filled:
        rig.bar()
    rig.fuse = 0
    rig.runs(lambda: rig.carry_out(rig.desk.flatten("a person", rig.now, rig.mono)))
    rig.venue.fill_market()
    rig.wait(8.0)
    rig.deliver()
    rig.wait(8.0)
    rig.venue.fill_market()
    rig.deliver()

    assert rig.state is State.REDUCING
    assert rig.venue.held() == 0


def test_a_halt_cancels_entries_that_are_at_work(rig):
    rig.bar(BUY)
    rig.venue.trade(1)  # somebody else's
    rig.deliver()

    assert rig.state is State.HALTED
    assert not alive(rig, Role.ENTRY)


def test_a_target_that_filled_unheard_is_not_closed_again(long):
    long.venue.move(long.venue.price + 60)  # the target fills, the stop goes with its group
    lost = last(long, "Cancelled", Role.STOP)
    long.venue.told = [one for one in long.venue.told if one is not lost and not isinstance(one, port.Filled)]
    long.deaf = 100
    long.hear(lost)
    long.deliver()
    long.wait(4.0)
    long.venue.fill_market()

    assert long.venue.held() == 0  # an exit by itself would have sold two more
    long.deaf = 0
    long.ask("now it answers")
    assert long.memory.orders.position() == {}


def test_an_exit_joins_the_group_of_its_stop_though_another_entry_came_since(make):
    rig = make("risk.max_position=2")
    rig.venue.sticks = True
    rig.bar(SELL)
    rig.bar(BUY, closed=25, hears=False)  # the books are flat yet: the entry has filled unheard
    rig.venue.move(rig.venue.price - 70)
    rig.deliver()
    rig.bar(BUY, opened=-25, hears=False)  # the target fills beside the exit
    rig.bar()

    assert rig.venue.held() == 2


def test_an_exit_that_never_left_says_nothing_of_its_group(long):
    long.fate = "refused"
    long.bar(CLOSE)
    long.bar(CLOSE)
    (stop,), (leaving,) = long.venue.alive(Role.STOP), long.venue.alive(Role.EXIT)

    assert leaving.order.group == stop.order.group


def test_an_exit_whose_group_is_gone_is_followed_by_one_of_its_own(long):
    long.venue.lose_stop()
    long.venue.done.update(one.order.group for one in long.venue.orders.values() if one.order.group)
    long.deliver()
    for _ in range(3):
        long.wait(3.0)
        long.deliver()
    long.venue.fill_market()
    long.deliver()

    assert long.state is State.HALTED
    assert long.venue.held() == 0


def test_stops_that_cover_too_much_together_are_cut_once(long):
    stop = alive(long, Role.STOP)[0]
    again = port.Order(ref="0a1b2c3d-90.s", role=Role.STOP, contract=CONTRACT, side=-1, contracts=2, price=79_900)
    long.memory.submit(again, bar=0)
    long.carry_out(long.memory.commit())
    long.deliver()
    long.deliver()

    assert sum(one.left for one in alive(long, Role.STOP)) == 2
    assert long.state is State.ACTIVE
    assert stop.order.ref in {one.order.ref for one in long.venue.orders.values()}


def test_a_stop_rejected_before_its_entry_fills_takes_the_entry_with_it(rig):
    rig.bar(BUY, hears=False)
    entry = alive(rig, Role.ENTRY)[0]
    rig.deliver()
    rig.hear(port.Rejected(ref=f"{entry.order.ref}.s", time=rig.now, code="201"))
    rig.deliver()

    assert rig.state is State.HALTED
    assert entry.status is Status.CANCELLED


def test_an_order_that_was_given_up_and_lives_halts_and_is_cancelled(rig):
    rig.fate = "lost"
    rig.fuse = 0
    rig.runs(lambda: rig.bar(BUY))  # intended, never sent
    bracket = rig.memory.orders.by_ref["0a1b2c3d-1"].order
    rig.wait(12.0)
    assert rig.memory.orders.by_ref["0a1b2c3d-1"].status is Status.REJECTED

    rig.venue.submit(port.BracketOrder(orders=(bracket,)))
    rig.deliver()

    assert rig.state is State.HALTED
    assert not alive(rig, Role.ENTRY)


def test_an_order_that_never_answered_is_settled_by_a_person(rig):
    rig.fate = "lost"
    rig.bar(BUY)
    rig.wait(60.0)
    assert rig.state is State.HALTED

    rig.carry_out(rig.desk.resume("a person", rig.now, rig.mono))
    rig.wait(10.0)
    rig.bar(SELL)

    assert rig.state is State.ACTIVE  # type: ignore[comparison-overlap]
    assert len(alive(rig, Role.ENTRY)) == 1


def test_an_unclear_word_is_settled_by_a_question(rig):
    rig.bar(BUY, hears=False)
    ref = alive(rig, Role.ENTRY)[0].order.ref
    rig.hear(port.Unknown(ref=ref, time=rig.now, code="109"))

    assert rig.memory.orders.by_ref[ref].status is Status.WORKING
    assert rig.state is State.ACTIVE


def test_what_a_broken_journal_missed_is_written_once_it_can_be(long):
    long.journal.full = True
    long.bar(CLOSE)
    long.bar()
    assert long.state is State.HALTED
    assert long.venue.held() == 0  # exits go on from memory

    long.journal.full = False
    long.tick()
    long.tick()
    assert len(long.journaled("bar")) == 4
    assert {event.data["ref"] for event in long.journaled("intent")} == set(long.venue.orders)
    assert long.recalled().orders.position() == {}


def test_a_write_that_failed_but_was_done_is_not_written_twice(long, monkeypatch):
    real = type(long.journal).write

    def written_but_says_no(journal, *entries, now):
        real(journal, *entries, now=now)
        journal._trouble = "the disk says no"
        journal._last -= len(entries)
        raise journal._failure()

    monkeypatch.setattr(type(long.journal), "write", written_but_says_no)
    long.bar(CLOSE)
    monkeypatch.setattr(type(long.journal), "write", real)
    long.tick()
    long.tick()

    refs = [event.data["ref"] for event in long.journaled("intent")]
    assert len(refs) == len(set(refs)) == 4


def test_refs_that_a_broken_journal_lacks_are_not_used_again(long):
    long.journal.full = True
    long.bar(CLOSE)
    long.killed()

    assert long.memory.number == 2  # the exit's, as the broker told it
    assert long.memory.next_ref() not in long.venue.orders


def test_nor_while_the_broker_has_not_told_them_yet(long):
    long.journal.full = True
    long.bar(CLOSE)
    long.deaf = 9
    long.killed()

    assert long.memory.number == 1
    assert long.memory.next_ref() not in long.venue.orders


def test_an_exit_that_a_broken_journal_lacks_is_ours_and_is_not_sent_again(long):
    long.journal.full = True
    long.bar(CLOSE)  # the exit leaves from memory
    long.killed()
    long.carry_out(long.desk.flatten("a person", long.now, long.mono))
    (one,) = alive(long, Role.EXIT)
    assert one.order.ref in {event.data["ref"] for event in long.journaled("intent")}

    long.bar()
    long.tick()
    assert long.venue.held() == 0
    assert long.memory.orders.position() == {}


def test_nothing_is_left_before_the_broker_was_asked_what_lives(long):
    long.journal.full = True
    long.bar(CLOSE)
    long.deaf = 1  # the question of the start is not answered
    long.killed()
    assert not long.memory.asked
    long.carry_out(long.desk.flatten("a person", long.now, long.mono))

    assert len(alive(long, Role.EXIT)) == 1
    long.bar()
    long.wait(10.0)
    assert long.venue.held() == 0


def test_bars_that_come_again_are_no_comparison_with_the_broker(long):
    long.disconnect()
    long.wait(900.0)
    assert long.state is State.RECONCILING

    long.bar()
    assert long.state is State.RECONCILING
