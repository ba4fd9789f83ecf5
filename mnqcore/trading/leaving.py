"""The one path out of a position, so that an exit can never double."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.api.port import Order, Role

if TYPE_CHECKING:
    from mnqcore.trading.memory import Memory


def leave(memory: Memory, *, bar: int, reason: int, only: str | None = None) -> bool:
    """Send what closes the position that our own orders made; returns whether anything is held.

    The exit joins the group of the stop, so that only one of the two can fill. Where an exit lives already, or entries
    may still fill, nothing more is sent: it is asked again with whatever happens next. Nor is more closed than the
    broker holds.

    Args:
        memory: of the session.
        bar: start of the bar decided at, UTC ns.
        reason: ExitReason.
        only: the contract to leave; None leaves all.
    """
    held = memory.orders.position()
    for contract in held:
        contracts = memory.closable(contract)
        if not contracts or (only is not None and contract != only):
            continue
        if any(one.order.contract == contract for one in memory.orders.alive(Role.EXIT)):
            continue
        ref = memory.next_ref()
        side = -1 if contracts > 0 else 1
        group = _group(memory, contract, side) or ref
        order = Order(ref=ref, role=Role.EXIT, contract=contract, side=side, contracts=abs(contracts), group=group)
        memory.submit(order, bar=bar, reason=reason)
    return bool(held)


def drop_entries(memory: Memory, why: str) -> None:
    """Ask for every entry that may still fill to be cancelled."""
    memory.drop_entries(why)


def _group(memory: Memory, contract: str, side: int) -> str | None:
    """Return the group of a stop that closes to the same side."""
    for one in memory.orders.alive(Role.STOP):
        if one.order.contract == contract and one.order.side == side:
            return one.order.group
    return None
