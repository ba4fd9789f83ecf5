"""The one path out of a position, so that an exit can never double."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.api.port import Order, Role

if TYPE_CHECKING:
    from mnqcore.trading.memory import Memory
    from mnqcore.trading.orders import Tracked


def leave(memory: Memory, *, bar: int, reason: int) -> None:
    """Send what closes the position that our own orders made.

    The exit joins the group of the stop, so that only one of the two can fill, also where the stop has ended: it may
    have filled. Only where such an exit has failed and the broker, asked since, still holds the position, another goes
    by itself. Where an exit lives already nothing more is sent, nor before the broker was asked what lives: an exit may
    have left while the journal was broken. Nor is more closed than the broker holds.

    Args:
        memory: of the session.
        bar: start of the bar decided at, UTC ns.
        reason: ExitReason.
    """
    held = memory.orders.position()
    if held and not memory.asked:
        memory.ask("what is held is to be left")
        return
    for contract in held:
        contracts = memory.closable(contract)
        if not contracts:
            continue
        if any(one.order.contract == contract for one in memory.orders.alive(Role.EXIT)):
            continue
        side = -1 if contracts > 0 else 1
        before = _before(memory, contract, side)
        failed = before is not None and before.order.role is Role.EXIT
        if failed and memory.unsure:
            continue
        ref = memory.next_ref()
        group = ref if failed or before is None else before.order.group or ref
        order = Order(ref=ref, role=Role.EXIT, contract=contract, side=side, contracts=abs(contracts), group=group)
        memory.submit(order, bar=bar, reason=reason)


def _before(memory: Memory, contract: str, side: int) -> Tracked | None:
    """Return what was to close the position before: its newest stop, or an exit that has failed since."""
    by_ref = memory.orders.by_ref
    for one in reversed(by_ref.values()):
        if (one.order.contract, one.order.side) != (contract, side):
            continue
        if one.order.role is Role.EXIT and not one.filled and not one.given_up:
            return one
        parent = by_ref.get(one.order.parent or "")
        if one.order.role is Role.STOP and (parent is None or parent.filled):
            return one
    return None
