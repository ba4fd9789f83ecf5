"""What we remember of our orders: folded from what was intended and from what the broker told, in whatever order.

Events may come twice, late, or before their acknowledgement. The position is the sum of executions, never of states;
an order that has ended stays so, but for an execution that comes after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.api.port import (
    Accepted,
    Cancelled,
    Charged,
    Execution,
    Filled,
    Parked,
    Rejected,
    Resized,
    Role,
    Status,
    Unknown,
    Working,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.api.port import Event, Order, OrderState

_STATUS = {Accepted: Status.PENDING, Working: Status.WORKING, Cancelled: Status.CANCELLED, Rejected: Status.REJECTED,
           Unknown: Status.UNKNOWN}  # fmt: skip


@attrs.define(kw_only=True)
class Tracked:
    """An order of ours.

    `reason`: ExitReason of an exit. `bar`: start of the bar at whose close it was decided, UTC ns. `risk`: ticks to the
    stop, of an entry. `contracts`: what it is for now. `sent`: it went out, or may have. `left`: it was seen to leave.
    `acked`: the broker has said that it has it. `cancelling`: its cancellation was asked for. `parked`: the broker has
    it, but not at work.
    `broker_id`: what the broker calls it.
    """

    order: Order
    bar: int
    reason: int = 0
    risk: int = 0
    contracts: int = 0
    status: Status = Status.PENDING
    sent: bool = False
    left: bool = False
    acked: bool = False
    cancelling: bool = False
    parked: bool = False
    given_up: bool = False
    """It has ended by our own reckoning: the broker never spoke of it."""
    broker_id: str = ""
    executions: dict[str, Execution] = attrs.field(factory=dict)

    @property
    def filled(self) -> int:
        """Contracts filled."""
        return sum(one.contracts for one in self.executions.values())

    @property
    def alive(self) -> bool:
        """Whether something more may come of it."""
        return self.sent and not self.status.ended

    @property
    def remaining(self) -> int:
        """Contracts that may still be filled; 0 once it has ended."""
        return max(self.contracts - self.filled, 0) if self.alive else 0

    @property
    def at_work(self) -> bool:
        """Whether it stands in the market."""
        return self.alive and self.status is Status.WORKING and not self.parked


@attrs.frozen(kw_only=True)
class Change:
    """What an execution changed: signed contracts that came (+) or went (-) at a price, of an order.

    `corrects`: it replaces what was counted before, at `before_price`.
    """

    tracked: Tracked
    execution: Execution
    contracts: int
    corrects: bool = False
    before_price: int = 0


class Orders:
    """All orders of a session, by ref, and what they came to."""

    def __init__(self) -> None:
        self.by_ref: dict[str, Tracked] = {}
        self.foreign: dict[str, Execution] = {}
        """Executions of orders that are none of ours."""
        self.counted: dict[str, int] = {}
        """Execution -> what the books count as its cost, micro-units."""
        self.fees: dict[str, int] = {}
        """Execution -> what the broker charged, micro-units."""
        # A session has thousands of orders, of which a handful lives: what is asked at every bar looks at these alone.
        self._open: dict[str, Tracked] = {}
        self._held: dict[str, int] = {}
        self._of_execution: dict[str, Tracked] = {}
        self._entered: set[int] = set()

    def intend(self, order: Order, *, bar: int, reason: int = 0, risk: int = 0) -> Tracked:
        """Remember an order that is about to be sent."""
        tracked = Tracked(order=order, bar=bar, reason=reason, risk=risk, contracts=order.contracts)
        self.by_ref[order.ref] = self._open[order.ref] = tracked
        if order.role is Role.ENTRY:
            self._entered.add(bar)
        return tracked

    def mark_sent(self, refs: list[str]) -> None:
        """Note that orders went out, or may have."""
        for ref in refs:
            self.by_ref[ref].sent = True

    def never_sent(self, ref: str) -> None:
        """Note that an order never reached the broker."""
        tracked = self.by_ref[ref]
        tracked.sent, tracked.status, tracked.given_up = True, Status.REJECTED, True

    def apply(self, event: Event) -> Change | None:
        """Take in an event; returns what it changed of the position, None where it changed nothing."""
        if isinstance(event, Filled):
            return self._execution(event.execution)
        if isinstance(event, Charged):
            self.fees[event.execution] = event.commission
            return None
        tracked = self.by_ref.get(getattr(event, "ref", ""))
        if tracked is not None:
            self._status(tracked, event)
        return None

    def heard(self, execution: Execution) -> bool:
        """Whether an execution, in this revision or a later one, was counted already."""
        tracked = self.by_ref.get(execution.ref)
        known = self.foreign if tracked is None else tracked.executions
        before = known.get(execution.id)
        return before is not None and before.revision >= execution.revision

    def settle(self, state: OrderState) -> None:
        """Take the broker's answer to a question for the truth of how an order stands; fills come as executions."""
        tracked = self.by_ref.get(state.ref)
        if tracked is None:
            return
        self._revive(tracked)
        tracked.sent = tracked.acked = True
        tracked.broker_id = state.broker_id or tracked.broker_id
        if not tracked.status.ended:
            tracked.status, tracked.contracts = state.status, state.contracts
            tracked.parked = state.status is Status.PENDING and tracked.order.parent is None

    def _revive(self, tracked: Tracked) -> None:
        """Let an order that was given up live again: the broker speaks of it."""
        if tracked.given_up:
            tracked.given_up, tracked.status = False, Status.PENDING
            self._open[tracked.order.ref] = tracked

    def _status(self, tracked: Tracked, event: Event) -> None:
        if not isinstance(event, Unknown):
            self._revive(tracked)
        tracked.sent = True
        tracked.acked = tracked.acked or not isinstance(event, Unknown)
        tracked.broker_id = getattr(event, "broker_id", "") or tracked.broker_id
        if tracked.status.ended:
            return
        if isinstance(event, Resized):
            tracked.contracts = event.contracts
        elif isinstance(event, Parked):
            tracked.parked = True
        elif isinstance(event, Accepted):
            if tracked.status is Status.UNKNOWN:
                tracked.status = Status.PENDING
        else:
            tracked.status = _STATUS[type(event)]
            tracked.parked = tracked.parked and not isinstance(event, Working)

    def _execution(self, execution: Execution) -> Change | None:
        """Count an execution once; a higher revision of it replaces what was counted."""
        if execution.commission is not None:
            self.fees[execution.id] = execution.commission
        tracked = self.by_ref.get(execution.ref)
        known = self.foreign if tracked is None else tracked.executions
        before = known.get(execution.id)
        if before is not None and before.revision >= execution.revision:
            return None
        known[execution.id] = execution
        if tracked is None:
            return None
        self._revive(tracked)
        self._of_execution[execution.id] = tracked
        self._open[execution.ref] = tracked
        tracked.sent = tracked.acked = True
        if tracked.filled >= tracked.contracts:
            tracked.status = Status.FILLED
        elif tracked.status is Status.FILLED:  # a bust: what of it is left is for the broker to say
            tracked.status = Status.UNKNOWN
        change = execution.contracts - (before.contracts if before else 0)
        self._held[execution.contract] = self._held.get(execution.contract, 0) + execution.side * change
        return Change(
            tracked=tracked,
            execution=execution,
            contracts=execution.side * change,
            corrects=before is not None,
            before_price=before.price if before else execution.price,
        )

    # What follows from them.

    def position(self) -> dict[str, int]:
        """Return contract -> signed contracts, the sum of all executions of ours, without those that are 0."""
        return {contract: contracts for contract, contracts in self._held.items() if contracts}

    def of_execution(self, execution: str) -> Tracked | None:
        """Return the order that an execution, by its id, belongs to."""
        return self._of_execution.get(execution)

    def entered_at(self, bar: int) -> bool:
        """Whether an entry was decided at the bar of a start."""
        return bar in self._entered

    def alive(self, *roles: Role) -> Iterator[Tracked]:
        """Yield orders of which something may still come, of these roles or of all."""
        for tracked in self.unsettled():
            if tracked.alive and (not roles or tracked.order.role in roles):
                yield tracked

    def unsettled(self) -> list[Tracked]:
        """Return orders that were intended or sent, and of which the broker's last word is not known."""
        for ref in [ref for ref, one in self._open.items() if one.status.ended]:
            del self._open[ref]
        return list(self._open.values())

    def cover(self, contract: str, side: int) -> int:
        """Return contracts of a position on `side` that stops at work would close."""
        return sum(
            one.remaining
            for one in self.alive(Role.STOP)
            if one.at_work and one.order.contract == contract and one.order.side == -side
        )

    def exposed(self, contract: str, side: int) -> int:
        """Return the largest position on `side` that what is held and what is at work could come to."""
        held = self.position().get(contract, 0) * side
        alike = [one for one in self.alive() if (one.order.contract, one.order.side) == (contract, side)]
        entries = sum(one.remaining for one in alike if one.order.role is Role.ENTRY)
        groups: dict[str, int] = {}  # one order of a group fills; where it closes more than is held, it opens
        for one in alike:
            if one.order.role is not Role.ENTRY:
                group = one.order.group or one.order.ref
                groups[group] = max(groups.get(group, 0), self._may_fill(one))
        return max(held + sum(groups.values()), 0) + entries

    def _may_fill(self, one: Tracked) -> int:
        """Return what of an order may fill by now: of a child no more than its parent has."""
        parent = self.by_ref.get(one.order.parent or "")
        return one.remaining if parent is None else min(one.remaining, parent.filled)


def number_of(ref: str, session: str) -> int:
    """Return the running number of a ref of a session, 0 where it is none."""
    name, _, rest = ref.partition("-")
    number = rest.partition(".")[0]
    return int(number) if name == session and number.isdigit() else 0
