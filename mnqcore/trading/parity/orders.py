"""Second row: what market rules, sizer and bracket make of an action, and the orders that a decision is sent as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.api.port import Role
from mnqcore.api.values import ExitReason
from mnqcore.rules import Denial
from mnqcore.trading.parity.outcome import Difference
from mnqcore.trading.parity.texts import side_text
from mnqcore.trading.recall import order_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.trading.books import Books
    from mnqcore.trading.memory import Memory
    from mnqcore.trading.parity.fold import Folded
    from mnqcore.trading.parity.ground import Ground
    from mnqcore.trading.parity.outcome import Row
    from mnqcore.trading.parity.record import Closed

ABOUT = "market rules, size, bracket and what was sent, given the decisions"
_FIELDS = ("exit", "side", "contracts", "denied", "stop", "target")
"""What is noted of a decision, in the order in which it is compared."""
Found = tuple[str, str, str, str]
"""What differs, as recorded, as computed, and why."""


def look(row: Row, closed: Closed, ground: Ground, books: Books, folded: Folded) -> None:
    """Compare a decision with what its action comes to, and what was sent with what the decision demands.

    `books`: the ledger that the journal holds is put into them. `folded`: up to the bar; orders that the journal lacks
    are added, so that what follows is judged by itself.
    """
    if closed.decision is None:
        return
    row.compared += 1
    row.left += ground.again.row(closed) is None  # what was sent is compared all the same
    if found := [*_judged(closed, ground, books), *_sent(closed, folded, ground)]:
        what, was, now, cause = found[0]
        row.differences.append(
            Difference(bar=closed.number, time=closed.time, what=what, recorded=was, computed=now, cause=cause)
        )


def _judged(closed: Closed, ground: Ground, books: Books) -> list[Found]:
    """Take the recorded action through market rules and sizer, on the recorded ledger."""
    again, decision = ground.again.row(closed), closed.decision
    if again is None or decision is None:
        return []
    books.restore(closed.bar["ledger"], [])
    following = np.array([ground.clock(closed).following(closed.time)], again.now.dtype)
    made = books.decide(again.now, again.order, following, decision["action"])
    return [
        (f"decision: {name}", _text(name, decision[name], ground), _text(name, getattr(made, name), ground), "")
        for name in _FIELDS
        if decision[name] != getattr(made, name)
    ]


def _text(name: str, value: Any, ground: Ground) -> str:
    if name == "exit":
        return ExitReason(value).label if value else "none"
    if name == "denied":
        return Denial(value).label if value else "nothing"
    return ground.price(value) if name in ("stop", "target") else f"{value}"


def _sent(closed: Closed, folded: Folded, ground: Ground) -> list[Found]:
    """Compare the orders that a decision was sent as with what it demands."""
    memory = folded.memory
    sent = {event.data["ref"]: _plain(event.data) for event in closed.sent if event.kind == "intent"}
    denied = sorted(event.data["code"] for event in closed.sent if event.kind == "denied")
    exits = {order["contract"]: order for order in sent.values() if order["role"] == Role.EXIT.value}
    leaving = [*_exits(closed, exits, folded)]
    entering = _entry(closed, memory.number + len(leaving) + 1, memory.session)
    wanted = {order["ref"]: order for order in [*leaving, *entering]}
    found: list[Found] = []
    for ref, order in wanted.items():
        if ref not in sent:
            found.append((f"order {ref}", "none", _order(order, ground), "the journal lacks this order"))
            memory.orders.intend(order_of(order), bar=closed.time, reason=order["reason"])
            memory.orders.mark_sent([ref])
            memory.number = max(memory.number, int(ref.partition("-")[2].partition(".")[0]))
        elif sent[ref] != order:
            found.append((f"order {ref}", _order(sent[ref], ground), _order(order, ground), _why(sent[ref], order)))
    found += [
        (f"order {ref}", _order(order, ground), "none", "nothing decided demands it")
        for ref, order in sent.items()
        if ref not in wanted
    ]
    assert closed.decision is not None
    if denied != sorted(closed.decision["world"]):
        codes = [", ".join(listed) or "none" for listed in (closed.decision["world"], denied)]
        found.append(("refusals", codes[0], codes[1], "what refused the entry is noted otherwise"))
    return found


def _exits(closed: Closed, sent: dict[str, dict[str, Any]], folded: Folded) -> Iterator[dict[str, Any]]:
    """Yield the exits that a decision demands: one for all that is held, unless one lives already.

    Where the broker held something else, or an exit has failed before, less may be sent, or none.
    """
    decision, memory = closed.decision, folded.memory
    assert decision is not None
    if not decision["exit"]:
        return
    number, leaving = memory.number, {one.order.contract for one in memory.orders.alive(Role.EXIT)}
    for contract, held in memory.orders.position().items():
        side, contracts = (-1 if held > 0 else 1), abs(held)
        failed, group = _before(memory, contract, side)
        lax = folded.doubted or failed
        if contract in leaving or (lax and contract not in sent):
            continue
        number += 1
        ref = f"{memory.session}-{number}"
        if lax:
            group = sent[contract]["group"]
            contracts = min(contracts, sent[contract]["contracts"])
        order = _blank(ref, Role.EXIT, contract, side, contracts, reason=decision["exit"])
        yield order | {"group": group or ref}


def _before(memory: Memory, contract: str, side: int) -> tuple[bool, str | None]:
    """Return whether an exit has failed before, and the group of the stop that an exit joins."""
    for one in reversed(memory.orders.by_ref.values()):
        if (one.order.contract, one.order.side) != (contract, side) or one.order.role is Role.TARGET:
            continue
        if one.order.role is Role.STOP:
            return False, one.order.group
        return one.order.role is Role.EXIT and not one.filled, None
    return False, None


def _entry(closed: Closed, number: int, session: str) -> Iterator[dict[str, Any]]:
    """Yield the entry that a decision demands with its stop and target, unless the world refused it."""
    decision = closed.decision
    assert decision is not None
    if not decision["contracts"] or decision["world"]:
        return
    side, contracts, contract = decision["side"], decision["contracts"], closed.bar["contract"]
    ref = f"{session}-{number}"
    yield _blank(ref, Role.ENTRY, contract, side, contracts)
    for role, suffix in ((Role.STOP, "s"), (Role.TARGET, "t")):
        if (price := decision[role.value]) is not None:
            child = _blank(f"{ref}.{suffix}", role, contract, -side, contracts)
            yield child | {"price": price, "parent": ref, "group": f"{ref}.g"}


def _blank(ref: str, role: Role, contract: str, side: int, contracts: int, reason: int = 0) -> dict[str, Any]:
    return {"ref": ref, "role": role.value, "contract": contract, "side": side, "contracts": contracts, "price": None,
            "parent": None, "group": None, "reason": reason}  # fmt: skip


def _plain(intent: dict[str, Any]) -> dict[str, Any]:
    names = ("ref", "role", "contract", "side", "contracts", "price", "parent", "group", "reason")
    return {name: intent[name] for name in names}


def _order(order: dict[str, Any], ground: Ground) -> str:
    price = "" if order["price"] is None else f" at {ground.price(order['price'])}"
    return f"{order['role']}: {side_text(order['side'], order['contracts'])} {order['contract']}{price}".rstrip()


def _why(sent: dict[str, Any], wanted: dict[str, Any]) -> str:
    names = [name for name in wanted if sent[name] != wanted[name]]
    return f"the order has another {', '.join(names)}"
