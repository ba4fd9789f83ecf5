"""What broker and journal hold, contract by contract, and how a person settles what differs.

`adopt`: what the broker holds beyond our orders is a person's own. It is left alone from now on: neither closed, nor
protected, nor counted. `disown`: what the journal holds beyond the broker is not ours any more. It is booked as left,
at the price of the fill that was none of ours where there is one, else at the last close; its orders are cancelled.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import BracketOrder, Execution, Filled, Order, Role
from mnqcore.api.values import ExitReason
from mnqcore.errors import BrokerError
from mnqcore.trading.control import Answer
from mnqcore.trading.reconcile import Difference, compare

if TYPE_CHECKING:
    from mnqcore.trading.control import Command
    from mnqcore.trading.memory import Effect, Memory
    from mnqcore.trading.orders import Orders
    from mnqcore.trading.session import Session

BEYOND = "beyond"
"""Begins the refs of orders that close what is none of ours."""
DISOWNED = "disowned"
"""Begins the ids of fills that no broker has made: what a person has given up is booked by them."""


def compared(session: Session) -> dict[str, Any]:
    """Return journal and broker side by side, for programs."""
    truth = session.truth
    return table(
        session.desk.memory.orders.position(),
        {} if truth is None else {one.contract: one.contracts for one in truth.positions},
        session.foreign,
        [] if truth is None else [f"{one.ref or 'none of ours'} {one.status.value}" for one in truth.open_orders],
    )


def table(
    journal: dict[str, int] | None, broker: dict[str, int], foreign: dict[str, int], orders: list[str]
) -> dict[str, Any]:
    """Return what journal (None: it cannot be read) and broker hold, contract by contract."""
    names = sorted({*(journal or {}), *broker, *foreign})
    rows = [
        {
            "contract": name,
            "journal": None if journal is None else journal.get(name, 0),
            "broker": broker.get(name, 0),
            "left_alone": foreign.get(name, 0),
            "beyond": None if journal is None else broker.get(name, 0) - foreign.get(name, 0) - journal.get(name, 0),
        }
        for name in names
    ]
    shown = [row for row in rows if any(row[key] for key in ("journal", "broker", "left_alone"))]
    return {"positions": shown, "orders": orders, "journal": journal is not None}


def beyond(session: Session) -> list[Difference]:
    """Return where the broker's last answer is not what our orders made and was left alone."""
    if session.truth is None:
        return []
    return compare(session.desk, session.truth.positions, session.foreign)


def adoptable(one: Difference) -> int:
    """Return signed contracts that the broker holds beyond the journal, to the same side or where it holds none."""
    extra = one.broker - one.journal
    return extra if one.journal == 0 or extra * one.journal > 0 else 0


def disownable(one: Difference) -> int:
    """Return signed contracts that the journal holds beyond the broker."""
    if one.broker * one.journal <= 0:
        return one.journal
    return one.journal - one.broker if abs(one.journal) > abs(one.broker) else 0


def adopt(session: Session, command: Command) -> tuple[Answer, list[Effect]]:
    """Leave alone what the broker holds beyond our orders."""
    found = _chosen(session, command)
    if not found:
        return Answer(ok=True, text="broker and journal agree: there is nothing to adopt"), []
    if less := [one for one in found if not adoptable(one)]:
        return Answer(
            ok=False,
            text=f"refused: the broker holds less than the journal ({_all(less)}): if that was closed elsewhere, "
            "mnq trade disown",
        ), []
    foreign = dict(session.foreign)
    for one in found:
        foreign[one.contract] = foreign.get(one.contract, 0) + adoptable(one)
    return _left_alone(session, command, {name: number for name, number in foreign.items() if number}, found)


def _left_alone(
    session: Session, command: Command, foreign: dict[str, int], found: list[Difference]
) -> tuple[Answer, list[Effect]]:
    text = f"left alone from now on: {_signed(foreign)}. Nothing of mnq's closes or protects it"
    memory = session.desk.memory
    memory.note(
        "operator", command="adopt", args={**command.args, "by": command.by, "was": _all(found)}, answer=text,
        foreign=foreign,
    )  # fmt: skip
    session.foreign.clear()
    session.foreign.update(foreign)
    return Answer(ok=True, text=text), memory.commit()


def disown(session: Session, command: Command) -> tuple[Answer, list[Effect]]:
    """Give up what the journal holds beyond the broker."""
    found = _chosen(session, command)
    lost = {one.contract: disownable(one) for one in found}
    if not found:
        return Answer(ok=True, text="broker and journal agree: there is nothing to disown"), []
    if not any(lost.values()):
        return Answer(
            ok=False, text=f"refused: the broker holds more than the journal ({_all(found)}): mnq trade adopt"
        ), []
    desk, memory = session.desk, session.desk.memory
    memory.now, memory.mono = session.now(), time.monotonic()
    text = f"not ours any more: {_signed(lost)}"
    memory.note(
        "operator", command="disown", args={**command.args, "by": command.by, "was": _all(found)}, answer=text
    )  # fmt: skip
    for contract, contracts in lost.items():
        if contracts:
            order, execution = given_up(
                memory.next_ref(), contract, contracts, _price(session, contract, contracts), memory.now
            )
            _remember(memory, order, desk.newest())
            desk.hear(Filled(execution=execution, time=memory.now))
            for one in list(memory.orders.alive()):
                if one.order.contract == contract and one.order.role is not Role.EXIT:
                    memory.cancel(one, "what it was for is not ours any more")
    return Answer(ok=True, text=text), memory.commit()


def given_up(ref: str, contract: str, contracts: int, price: int, now: int) -> tuple[Order, Execution]:
    """Return the order and the fill that stand for what a person says is not ours any more; no broker hears of them."""
    side = -1 if contracts > 0 else 1
    order = Order(ref=ref, role=Role.EXIT, contract=contract, side=side, contracts=abs(contracts))
    execution = Execution(
        id=f"{DISOWNED} {ref}", ref=ref, broker_id="", contract=contract, side=side, contracts=abs(contracts),
        price=price, time=now,
    )  # fmt: skip
    return order, execution


def last_foreign_price(orders: Orders, contract: str, side: int) -> int | None:
    """Return the price of the latest fill on a side that is none of ours."""
    fills = [one for one in orders.foreign.values() if one.contract == contract and one.side == side and one.contracts]
    return max(fills, key=lambda one: one.time).price if fills else None


def intent_of(order: Order, bar: int) -> dict[str, Any]:
    """Return an exit as the journal notes it."""
    return {**attrs.asdict(order), "role": order.role.value, "bar": bar, "reason": int(ExitReason.SIGNAL), "risk": 0}


def _remember(memory: Memory, order: Order, bar: int) -> None:
    """Note an order that no broker will hear of."""
    memory.orders.intend(order, bar=bar, reason=int(ExitReason.SIGNAL))
    memory.note("intent", **intent_of(order, bar))
    memory.orders.mark_sent([order.ref])


def others(row: dict[str, Any]) -> int:
    """Return signed contracts of a row of `table` that are at the broker, are not ours, and were not left alone."""
    theirs, journal = row["broker"] - row["left_alone"], row["journal"] or 0
    own = 0 if journal * theirs <= 0 else min(journal, theirs, key=abs)
    return int(theirs - own)


async def close_beyond(session: Session, command: Command) -> None:
    """Close what the broker holds that our orders did not make; an order for it that lives is not sent again."""
    memory, truth = session.desk.memory, session.truth
    assert truth is not None
    theirs = {one.contract: one.contracts for one in truth.positions}
    waiting = {one.contract for one in truth.open_orders if one.ref.startswith(BEYOND)}
    for contract in sorted({*theirs, *session.foreign} - waiting):
        extra = theirs.get(contract, 0) - memory.closable(contract)
        if extra:
            await _close_one(session, contract, extra)
    if session.foreign:
        memory.note("operator", command="flatten", args={"by": command.by}, answer="nothing is left alone", foreign={})
        session.foreign.clear()
    await session.carry_out(memory.commit())


async def _close_one(session: Session, contract: str, extra: int) -> None:
    memory = session.desk.memory
    order = closing_order(contract, extra)
    memory.note("operator", command="flatten", args={"all": True}, answer=f"{-extra:+d} {contract} as {order.ref}")
    await session.carry_out(memory.commit())  # meant before it is sent
    try:
        await session.broker.submit(BracketOrder(orders=(order,)))
    except BrokerError as error:
        memory.alert("error", f"{extra:+d} {contract} cannot be closed: {error.what}")


def closing_order(contract: str, extra: int) -> Order:
    """Return an order that closes what is none of ours; its ref is no session's."""
    return Order(
        ref=f"{BEYOND}-{time.time_ns():x}", role=Role.EXIT, contract=contract, side=-1 if extra > 0 else 1,
        contracts=abs(extra),
    )  # fmt: skip


def _chosen(session: Session, command: Command) -> list[Difference]:
    """Return the differences that a command is about: of one contract, or all."""
    wanted = command.args.get("contract")
    return [one for one in beyond(session) if wanted in (None, one.contract)]


def _price(session: Session, contract: str, contracts: int) -> int:
    """Return at what price a position is booked as left."""
    found = last_foreign_price(session.desk.memory.orders, contract, -1 if contracts > 0 else 1)
    if found is not None:
        return found
    last = session.desk.last
    return 1 if last is None else last.close


def _all(found: list[Difference]) -> str:
    return "; ".join(map(str, found))


def _signed(contracts: dict[str, int]) -> str:
    return ", ".join(f"{number:+d} {name}" for name, number in contracts.items() if number) or "nothing"
