"""Closing at the broker itself: what is closed, what is not touched, and that nothing is ever closed twice."""

import asyncio
import itertools
from typing import Any

import attrs
import pandas as pd
import pytest

from mnqcore.api.port import AccountState, Execution, Filled, Login, Order, OrderState, Position, Role, Status
from mnqcore.errors import BrokerError, JournalBroken, UsageError
from mnqcore.market.instruments import catalogue
from mnqcore.trading import amends, direct, hindsight
from mnqcore.trading.direct import Direct
from mnqcore.trading.journal import FILE, Entry, Header, Journal
from mnqcore.trading.places import Access
from mnqcore.trading.settling import DISOWNED, intent_of

NOW = 1_767_623_400_000_000_000
NAME, SESSION = "MNQH24", "0123abcd"


@attrs.define
class FakeBroker:
    """Holds what it is told; market orders fill at once unless it is `slow`, entries even while they are cancelled."""

    held: dict[str, int] = attrs.field(factory=dict)
    orders: dict[str, Order] = attrs.field(factory=dict)
    fills: list[Execution] = attrs.field(factory=list)
    sent: list[Order] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)
    slow: bool = False
    races: bool = False
    deaf: bool = False
    id: str = "SIM"
    _count: Any = attrs.field(factory=itertools.count)

    async def account(self):
        if self.deaf:
            await asyncio.sleep(60)
        return AccountState(id=self.id, paper=True, currency="USD", time=NOW)

    async def positions(self):
        return [Position(contract=name, contracts=number) for name, number in self.held.items() if number]

    async def open_orders(self):
        return [self.state(order) for order in self.orders.values()]

    async def executions(self):
        return list(self.fills)

    async def submit(self, bracket):
        for order in bracket.orders:
            assert order.ref not in [one.ref for one in self.sent]
            self.sent.append(order)
            self.orders[order.ref] = order
            if not self.slow:
                self.fill(order)

    async def cancel(self, ref):
        self.cancelled.append(ref)
        order = self.orders.get(ref)
        if order and self.races and order.role is Role.ENTRY:
            self.fill(order)
        self.orders.pop(ref, None)

    def state(self, order):
        return OrderState(
            ref=order.ref, broker_id=order.ref, role=order.role, contract=order.contract, side=order.side,
            contracts=order.contracts, filled=0, price=order.price, status=Status.WORKING,
        )  # fmt: skip

    def fill(self, order):
        """Fill an order, which ends its group."""
        signed = order.side * order.contracts
        self.held[order.contract] = self.held.get(order.contract, 0) + signed
        self.fills.append(
            Execution(
                id=f"e{next(self._count)}",
                ref=order.ref,
                broker_id="",
                contract=order.contract,
                side=order.side,
                contracts=order.contracts,
                price=80_000,
                time=NOW,
            )
        )
        self.orders = {
            ref: one for ref, one in self.orders.items()
            if ref != order.ref and (order.group is None or one.group != order.group)
        }  # fmt: skip


ENTRY = Order(ref=f"{SESSION}-1", role=Role.ENTRY, contract=NAME, side=1, contracts=1)
STOP = Order(
    ref=f"{SESSION}-1.s", role=Role.STOP, contract=NAME, side=-1, contracts=1, price=79_800, parent=f"{SESSION}-1",
    group=f"{SESSION}-1.g",
)  # fmt: skip


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """desk(broker, filled=[...]): what closes at a broker, with a journal of what was meant and filled."""
    monkeypatch.setattr(direct, "_PATIENCE", 1.0)
    monkeypatch.setattr(direct, "_RACE", 0.3)
    journals = []

    def make(broker, *, filled=(), meant=(), journal=True, foreign=None):
        access = Access(
            use="fake", params={}, strategy="a", session=SESSION,
            login=Login(account="SIM", mode="replay", instrument=catalogue()["MNQ"], bar_size=pd.Timedelta("5min"),
                        file="", plugins=(), folder=str(tmp_path)),
        )  # fmt: skip
        if not journal:
            return Direct(broker=broker, access=access, trouble="garbage")
        header = Header(account="SIM", mode="replay", strategy="a", digest="ab" * 32, session=SESSION, instrument={},
                        versions={}, created=NOW)  # fmt: skip
        made = Journal.create(tmp_path / FILE, header)
        journals.append(made)
        for order in (*filled, *meant):
            made.write(Entry("intent", intent_of(order, NOW)), now=NOW)
        for order in filled:
            broker.fill(order)
            event = attrs.asdict(Filled(execution=broker.fills[-1], time=NOW))
            made.write(Entry("event", {"type": "Filled", **event}), now=NOW)
        if foreign:
            made.write(Entry("operator", {"command": "adopt", "foreign": foreign}), now=NOW)
        return Direct(broker=broker, access=access, known=hindsight.read(made), journal=made)

    yield make
    for one in journals:
        one.close()


def flatten(made, *, everything=False):
    return asyncio.run(made.flatten(everything, "me"))


def kinds(made):
    return [(one.kind, one.data) for one in made.journal.events()]


def test_what_the_journal_owns_is_closed_in_the_group_of_its_stop(desk):
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY], meant=[STOP])
    broker.orders[STOP.ref] = STOP

    assert flatten(made)

    (sent,) = broker.sent
    assert (sent.role, sent.side, sent.contracts, sent.group) == (Role.EXIT, -1, 1, STOP.group)
    assert sent.ref == f"{SESSION}-2"
    assert broker.held[NAME] == 0
    assert broker.orders == {}
    noted = [kind for kind, _ in kinds(made)][-3:]
    assert noted == ["operator", "state", "intent"]


def test_what_another_account_holds_is_not_closed(desk):
    broker = FakeBroker(id="OTHER")
    made = desk(broker, filled=[ENTRY], meant=[STOP])

    with pytest.raises(BrokerError, match="answers for another account"):
        flatten(made, everything=True)

    assert not broker.sent
    assert not broker.cancelled
    assert broker.held[NAME] == 1


def test_saying_it_again_sends_nothing(desk):
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY], meant=[STOP])

    assert flatten(made)
    assert flatten(made)

    assert len(broker.sent) == 1


def test_an_exit_that_waits_at_the_broker_is_not_sent_again(desk):
    broker = FakeBroker(slow=True)
    made = desk(broker, filled=[ENTRY], meant=[STOP])

    assert not flatten(made)
    assert not flatten(made)
    assert not flatten(made, everything=True)

    assert len(broker.sent) == 1
    assert STOP.ref not in broker.cancelled  # only once nothing is held


def test_an_entry_that_fills_while_it_is_cancelled_is_closed_too(desk):
    broker = FakeBroker(races=True)
    made = desk(broker, meant=[ENTRY, STOP])
    broker.orders[ENTRY.ref] = ENTRY

    assert flatten(made)

    assert broker.cancelled[0] == ENTRY.ref
    assert [(one.side, one.contracts) for one in broker.sent] == [(-1, 1)]
    assert broker.held[NAME] == 0


def test_an_entry_that_waits_is_cancelled_and_nothing_is_sent(desk):
    broker = FakeBroker()
    made = desk(broker, meant=[ENTRY, STOP])
    broker.orders |= {ENTRY.ref: ENTRY, STOP.ref: STOP}

    assert flatten(made)

    assert broker.sent == []
    assert broker.cancelled == [ENTRY.ref, STOP.ref]


@pytest.mark.parametrize(
    ("more", "foreign", "everything", "sent", "held"),
    [
        (0, None, False, [-1], 0),
        (2, None, False, [-1], 2),
        (2, None, True, [-1, -2], 0),
        (2, {NAME: 2}, False, [-1], 2),
        (2, {NAME: 2}, True, [-1, -2], 0),
        (-1, None, False, [], 0),
        (-1, None, True, [], 0),
        (-3, None, False, [], -2),
        (-3, None, True, [2], 0),
    ],
)
def test_no_more_is_closed_than_is_ours_and_is_there(desk, more, foreign, everything, sent, held):
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY], foreign=foreign)
    broker.held[NAME] += more

    assert flatten(made, everything=everything)

    assert [one.side * one.contracts for one in broker.sent] == sent
    assert broker.held.get(NAME, 0) == held
    assert all(one.ref.startswith("beyond-") for one in broker.sent[1:])


def test_without_a_journal_only_everything_is_closed_in_the_group_that_the_stop_tells(desk):
    broker = FakeBroker(held={NAME: 1}, orders={STOP.ref: STOP})
    made = desk(broker, journal=False)

    assert flatten(made)
    assert (broker.sent, broker.cancelled) == ([], [])
    assert flatten(made, everything=True)
    assert [(one.side, one.group) for one in broker.sent] == [(-1, STOP.group)]
    assert broker.orders == {}


def test_a_journal_that_breaks_on_the_way_keeps_nobody_from_closing(desk, monkeypatch):
    told: list[str] = []
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY])
    made.tell = told.append

    def full(*_entries, now):
        raise JournalBroken("the journal cannot be written", found="database or disk is full")

    monkeypatch.setattr(made.journal, "write", full)

    assert flatten(made)
    assert broker.held[NAME] == 0
    assert told[0] == "the journal does not hold it: database or disk is full"


def test_a_broker_that_does_not_answer_is_an_error(desk):
    made = desk(FakeBroker(deaf=True), journal=False)

    with pytest.raises(BrokerError, match="does not answer"):
        flatten(made, everything=True)


def test_orders_of_others_are_not_cancelled_but_told(desk):
    told: list[str] = []
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY])
    made.tell = told.append
    broker.orders[""] = attrs.evolve(STOP, ref="", group=None)

    assert flatten(made)
    assert "" not in broker.cancelled
    assert told[-1] == "1 orders at the broker are none of ours: cancel them there"


# adopt and disown


def look(made):
    return asyncio.run(made.answers())


def test_adopt_is_written_for_the_next_start(desk):
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY])
    broker.held[NAME] += 2

    assert amends.adopt(made, look(made), None, "me") == "left alone from the next start on: +2 MNQH24"
    assert kinds(made)[-1][1]["foreign"] == {NAME: 2}
    assert hindsight.read(made.journal).foreign == {NAME: 2}
    assert "nothing to adopt" in amends.adopt(made, look(made), None, "me")


def test_disown_books_the_position_as_left_at_the_price_of_the_fill_that_was_none_of_ours(desk):
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY], meant=[STOP])
    broker.fill(attrs.evolve(ENTRY, ref="", side=-1))
    broker.fills[-1] = attrs.evolve(broker.fills[-1], price=81_234)

    text, orphans = amends.disown(made, look(made), None, "me")

    assert text == "not the session's any more: +1 MNQH24"
    assert orphans == [STOP.ref]
    event = kinds(made)[-1][1]["execution"]
    assert (event["side"], event["contracts"], event["price"]) == (-1, 1, 81_234)
    assert event["id"].startswith(DISOWNED)
    assert hindsight.read(made.journal).orders.position() == {}
    assert amends.disown(made, look(made), None, "me")[1] == []


def test_what_is_the_other_way_round_is_refused_with_the_word_for_it(desk):
    broker = FakeBroker()
    made = desk(broker, filled=[ENTRY])
    broker.held[NAME] = 0

    with pytest.raises(UsageError) as caught:
        amends.adopt(made, look(made), None, "me")
    assert caught.value.facts["next"] == "mnq trade disown"
    broker.held[NAME] = 2
    with pytest.raises(UsageError) as caught:
        amends.disown(made, look(made), None, "me")
    assert caught.value.facts["next"] == "mnq trade adopt"
    assert "nothing to adopt" in amends.adopt(made, look(made), "MNQM24", "me")


def test_without_a_journal_there_is_nothing_to_settle(desk):
    made = desk(FakeBroker(held={NAME: 1}), journal=False)

    with pytest.raises(UsageError, match="cannot be read"):
        amends.adopt(made, look(made), None, "me")
