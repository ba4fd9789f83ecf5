"""`adopt` and `disown` for a session whose process has ended: written to its journal, for the next start to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import Filled, Role
from mnqcore.errors import UsageError
from mnqcore.trading.journal import Entry
from mnqcore.trading.reconcile import Difference
from mnqcore.trading.settling import adoptable, disownable, given_up, intent_of, last_foreign_price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.trading.direct import Answers, Direct
    from mnqcore.trading.hindsight import Hindsight


def differences(known: Hindsight, answers: Answers, contract: str | None) -> list[Difference]:
    """Return where the broker's answers are not what our orders made and was left alone."""
    ours = known.orders.position()
    theirs = {name: answers.held.get(name, 0) - known.foreign.get(name, 0) for name in {*answers.held, *known.foreign}}
    names = [name for name in sorted({*ours, *theirs}) if contract in (None, name)]
    found = [Difference(contract=name, journal=ours.get(name, 0), broker=theirs.get(name, 0)) for name in names]
    return [one for one in found if one.journal != one.broker]


def adopt(direct: Direct, answers: Answers, contract: str | None, by: str) -> str:
    """Leave alone what the broker holds beyond our orders; returns what was settled.

    Raises:
        UsageError: the broker holds less than the journal.
    """
    known = _known(direct)
    found = differences(known, answers, contract)
    if less := [one for one in found if not adoptable(one)]:
        raise UsageError("the broker holds less than the journal", found=_all(less), next="mnq trade disown")
    if not found:
        return "broker and journal agree: there is nothing to adopt"
    foreign = dict(known.foreign)
    for one in found:
        foreign[one.contract] = foreign.get(one.contract, 0) + adoptable(one)
    foreign = {name: number for name, number in foreign.items() if number}
    text = f"left alone from the next start on: {_signed(foreign)}"
    _write(direct, answers, [_said("adopt", by, found, text) | {"foreign": foreign}])
    known.foreign = foreign
    return text


def disown(direct: Direct, answers: Answers, contract: str | None, by: str) -> tuple[str, list[str]]:
    """Give up what the journal holds beyond the broker; returns what was settled, and orders to cancel.

    Raises:
        UsageError: the broker holds more than the journal.
    """
    known = _known(direct)
    found = differences(known, answers, contract)
    lost = {one.contract: disownable(one) for one in found if disownable(one)}
    if found and not lost:
        raise UsageError("the broker holds more than the journal", found=_all(found), next="mnq trade adopt")
    if not lost:
        return "broker and journal agree: there is nothing to disown", []
    text = f"not the session's any more: {_signed(lost)}"
    entries: list[dict[str, Any]] = [_said("disown", by, found, text)]
    for name, number in lost.items():
        known.number += 1
        ref = f"{direct.access.session}-{known.number}"
        price = last_foreign_price(known.orders, name, -1 if number > 0 else 1)
        order, execution = given_up(ref, name, number, known.close if price is None else price, answers.account.time)
        event = Filled(execution=execution, time=answers.account.time)
        entries += [{"kind": "intent", **intent_of(order, known.bar)}]
        entries += [{"kind": "event", "type": "Filled", **attrs.asdict(event)}]
        known.orders.intend(order, bar=known.bar)
        known.orders.apply(event)
    _write(direct, answers, entries)
    orphans = [one.order.ref for one in known.orders.alive() if one.order.contract in lost and _opens(one.order.role)]
    return text, orphans


def _opens(role: Role) -> bool:
    """Whether an order that goes on would open a position once what it was for is gone."""
    return role is not Role.EXIT


def _said(command: str, by: str, found: Sequence[Difference], answer: str) -> dict[str, Any]:
    return {"kind": "operator", "command": command, "args": {"by": by, "was": _all(found)}, "answer": answer}


def _write(direct: Direct, answers: Answers, entries: Sequence[dict[str, Any]]) -> None:
    assert direct.journal is not None
    rows = [Entry(one["kind"], {name: value for name, value in one.items() if name != "kind"}) for one in entries]
    direct.journal.write(*rows, now=answers.account.time)


def _known(direct: Direct) -> Hindsight:
    if direct.known is None or direct.journal is None:
        raise UsageError(
            "the journal of this session cannot be read: there is nothing to settle",
            found=direct.trouble,
            next="mnq trade flatten --all closes what is at the broker; then move the journal away",
        )
    return direct.known


def _all(found: Sequence[Difference]) -> str:
    return "; ".join(map(str, found))


def _signed(contracts: dict[str, int]) -> str:
    return ", ".join(f"{number:+d} {name}" for name, number in contracts.items() if number) or "nothing"
