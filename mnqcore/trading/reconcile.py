"""Broker and journal compared: at every start, after every loss of connection, after fills, and every minute.

The broker is the truth. What it tells is taken in as events are; what it does not tell is asked again, and what stays
different halts the session: silence is never taken for "none".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.api.port import Charged, Filled, Order, Role, Status
from mnqcore.trading.memory import State
from mnqcore.trading.orders import number_of

if TYPE_CHECKING:
    from mnqcore.api.port import AccountState, ContractFacts, Execution, OrderState, Position
    from mnqcore.trading.desk import Desk
    from mnqcore.trading.memory import Effect


@attrs.frozen(kw_only=True)
class Truth:
    """What the broker answered, all of it at about one time. `facts`: of the contracts that are traded or held."""

    account: AccountState
    positions: list[Position]
    open_orders: list[OrderState]
    completed_orders: list[OrderState]
    executions: list[Execution]
    facts: list[ContractFacts] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Difference:
    """Contracts by contract: what the journal's orders made, and what the broker holds."""

    contract: str
    journal: int
    broker: int

    def __str__(self) -> str:
        return f"{self.contract or 'position'}: journal {self.journal:+d}, broker {self.broker:+d}"


def reconcile(
    desk: Desk, truth: Truth, now: int, mono: float, *, adopted: dict[str, int] | None = None
) -> list[Effect]:
    """Take in the broker's answers, and go on where everything agrees; else say what does not.

    `truth`: the answers. `now`, `mono`: the session's clock, UTC ns, and seconds that only ever rise. `adopted`:
    contract -> contracts of the broker's that a person told us to leave alone.
    """
    memory = desk.memory
    memory.now, memory.mono = now, mono
    memory.asked, memory.cut, memory.unsure = True, False, ""
    memory.number = max(memory.number, _last_number(truth, memory.session))
    _claim(desk, truth)
    missed = _executions(desk, truth)
    differences = compare(desk, truth.positions, adopted or {})
    memory.doubts = {one.contract: one.broker for one in differences}
    _orders(desk, truth)
    _cancels(desk, truth)
    lost = _never_sent(desk, truth)
    memory.note(
        "reconciled",
        positions=[attrs.asdict(one) for one in truth.positions],
        orders=[one.ref or one.broker_id for one in truth.open_orders],
        foreign=len(_foreign(truth)),
        missed=missed,
        never_sent=lost,
        difference="; ".join(map(str, differences)) or None,
    )
    if differences and desk.doubted:
        memory.halt(f"broker and journal differ: {'; '.join(map(str, differences))}")
    elif differences:  # the answers are of slightly different times: what is no difference is gone at once
        memory.turn(State.RECONCILING, "broker and journal differ")
        memory.ask("broker and journal differ")
    elif memory.state in (State.RECONCILING, State.CONNECTING) and not _waiting(desk):
        memory.turn(State.ACTIVE, "broker and journal agree")
    flat = not truth.positions and not memory.orders.position()
    day = desk.clock.trading_day(now)
    desk.losses.compared(truth.account, flat=flat, day=day, bar=desk.newest())
    desk.doubted = bool(differences)
    desk.protection.look(desk.newest())
    return memory.commit()


def compare(desk: Desk, positions: list[Position], adopted: dict[str, int]) -> list[Difference]:
    """Return where the broker's positions are not the sum of our fills, less what is to be left alone."""
    ours = desk.memory.orders.position()
    theirs = {one.contract: one.contracts for one in positions}
    for contract, contracts in adopted.items():
        theirs[contract] = theirs.get(contract, 0) - contracts
    names = sorted({*ours, *theirs})
    found = [Difference(contract=name, journal=ours.get(name, 0), broker=theirs.get(name, 0)) for name in names]
    return [one for one in found if one.journal != one.broker]


def _claim(desk: Desk, truth: Truth) -> None:
    """Remember orders that bear our refs and that no journal tells of: they left while it could not be written.

    Only what reduces leaves then, so that nothing else can be meant; were they not known, a second exit would follow.
    """
    memory = desk.memory
    for state in (*truth.open_orders, *truth.completed_orders):
        ours = state.ref.startswith(f"{memory.session}-") and state.ref not in memory.orders.by_ref
        if not ours or state.role not in (Role.EXIT, Role.STOP):
            continue
        order = Order(
            ref=state.ref, role=state.role, contract=state.contract, side=state.side, contracts=state.contracts,
            price=state.price,
        )  # fmt: skip
        memory.claim(order, bar=desk.newest())


def _executions(desk: Desk, truth: Truth) -> int:
    """Take in the executions that we have not heard of; returns how many."""
    missed = 0
    for execution in sorted(truth.executions, key=lambda one: (one.time, one.id, one.revision)):
        if desk.hear(Filled(execution=execution, time=truth.account.time)):
            missed += 1
        fee = execution.commission
        if execution.ref and fee is not None and desk.memory.orders.counted.get(execution.id, fee) != fee:
            desk.hear(Charged(execution=execution.id, commission=fee, time=truth.account.time))
    return missed


def _orders(desk: Desk, truth: Truth) -> None:
    """Let the broker's word stand for how each of our orders is."""
    for state in (*truth.open_orders, *truth.completed_orders):
        tracked = desk.memory.orders.by_ref.get(state.ref)
        if tracked is None:
            continue
        before, given_up = tracked.status, tracked.given_up
        desk.memory.sent_at.pop(state.ref, None)
        same = before is state.status and tracked.contracts == state.contracts and tracked.acked
        if same or (before.ended and not given_up):
            continue
        desk.memory.note("event", type="Settled", ref=state.ref, status=state.status.value, contracts=state.contracts)
        desk.memory.orders.settle(state)
        if given_up:
            desk.memory.halt(f"{state.ref} was given up, and the broker has it")
        if tracked.status is Status.CANCELLED and tracked.order.role is Role.STOP and not tracked.cancelling:
            desk.protection.lost(tracked, "it was gone when the broker was asked", desk.newest())


def _cancels(desk: Desk, truth: Truth) -> None:
    """Ask again for orders that are still open although they were to be cancelled."""
    for state in truth.open_orders:
        tracked = desk.memory.orders.by_ref.get(state.ref)
        if tracked is not None:
            desk.memory.cancel_again(tracked, desk.strategy.trade.limits.ack_seconds)


def _never_sent(desk: Desk, truth: Truth) -> list[str]:
    """Note orders that the broker knows nothing of, after a quiet time: they were never sent. Return their refs."""
    memory, quiet = desk.memory, desk.strategy.trade.limits.quiet_seconds
    known = {one.ref for one in (*truth.open_orders, *truth.completed_orders)}
    known |= {one.ref for one in truth.executions}
    lost = []
    for tracked in memory.orders.unsettled():
        ref = tracked.order.ref
        if ref in known:
            continue
        if tracked.acked:
            if tracked.status is not Status.UNKNOWN:
                tracked.status = Status.UNKNOWN
                memory.note("event", type="Unknown", ref=ref, time=memory.now, code="gone", why="the broker lost it")
                memory.halt(f"the broker no longer knows {ref}")
            continue
        if tracked.status is Status.UNKNOWN and tracked.left and memory.state is State.HALTED:
            continue
        since = memory.sent_at.setdefault(ref, memory.mono)
        if tracked.left:  # it may be on its way yet: asked for again, until it counts as unknown
            continue
        if memory.mono - since >= quiet:
            memory.orders.never_sent(ref)
            memory.sent_at.pop(ref, None)
            memory.note("event", type="NeverSent", ref=ref)
            memory.alert("warning", f"{ref} was never sent; what was decided then is not sent any more")
            lost.append(ref)
    return lost


def _last_number(truth: Truth, session: str) -> int:
    """Return the highest number among the refs that the broker knows: a journal that was broken may lack them."""
    refs = [one.ref for one in (*truth.open_orders, *truth.completed_orders)] + [one.ref for one in truth.executions]
    return max((number_of(ref, session) for ref in refs), default=0)


def _waiting(desk: Desk) -> bool:
    """Whether an order is still looked for."""
    return any(not one.acked and one.order.ref in desk.memory.sent_at for one in desk.memory.orders.unsettled())


def _foreign(truth: Truth) -> list[OrderState]:
    return [one for one in truth.open_orders if not one.ref]
