"""First row: each bar, what plugins say of it, the position that the agent saw, and what it chose."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mnqcore.api.values import Action
from mnqcore.market.bars import PRICES
from mnqcore.trading.parity import causes
from mnqcore.trading.parity.outcome import Difference, Row
from mnqcore.trading.parity.texts import action_text, moment_text, same, value_text

if TYPE_CHECKING:
    from mnqcore.trading.books import Books
    from mnqcore.trading.parity.causes import Found
    from mnqcore.trading.parity.ground import Ground
    from mnqcore.trading.parity.record import Closed, Record
    from mnqcore.trading.rows import Seen

_ABOUT = "bars, features, position and action, given the recorded ledger"
_POSITION = ("position", "unrealised profit", "bars held", "equity")
"""What an agent sees of its position."""


def compare(record: Record, ground: Ground, books: Books) -> Row:
    """Compare every bar, and what was decided at it."""
    row = Row(name="features", about=_ABOUT)
    seen: list[tuple[Closed, Seen]] = []
    wrong: list[tuple[Closed, Seen | None, list[Found]]] = []
    before = -1
    for closed in record.bars:
        again = ground.again.row(closed)
        if again is not None:
            seen.append((closed, again))
            found = [*_bar(closed, before, again, ground), *_decided(closed, again, ground, books)]
        elif ground.has(closed.time):  # what it was computed from is gone
            row.left += 1
            found = []
        else:
            found = [("bar", "one", "the data source has none of this start")]
        row.compared += again is not None or bool(found)
        if found:
            wrong.append((closed, again, found))
        before = closed.number
    why = causes.Causes.of(seen, wrong, ground)
    row.differences += [_difference(closed, found, why(closed, again, found)) for closed, again, found in wrong]
    row.compared += len(record.strays)
    row.differences += [
        Difference(
            bar=stray["number"],
            time=stray["bar"],
            what="decision",
            recorded="one",
            computed="none",
            cause="the journal holds no bar, or another decision already, for it",
        )
        for stray in record.strays
    ]
    return row


def _bar(closed: Closed, before: int, again: Seen, ground: Ground) -> list[Found]:
    """Compare what was delivered with what the source says now."""
    found: list[Found] = []
    if closed.number != before + 1:
        found.append(("number", f"{closed.number:,}", f"{before + 1:,}"))
    if closed.bar["contract"] != again.contract:
        found.append(("contract", closed.bar["contract"], again.contract))
    for name, now in zip(PRICES, again.prices, strict=True):
        if closed.bar[name] != now:
            found.append((name, ground.price(closed.bar[name]), ground.price(now)))
    if closed.bar["volume"] != again.volume:
        found.append(("volume", f"{closed.bar['volume']:,.10g}", f"{again.volume:,.10g}"))
    if closed.bar["end"] != again.end:
        found.append(("end", moment_text(closed.bar["end"]), moment_text(again.end)))
    return found


def _decided(closed: Closed, again: Seen, ground: Ground, books: Books) -> list[Found]:
    """Compare features, position and action."""
    decision = closed.decision
    if decision is None:
        lacks = closed.bar["decides"] and not closed.bar["ledger"]["done"]
        return [("decision", "none", "one")] if lacks else []
    if len(decision["features"]) != len(ground.columns):
        return [("features", f"{len(decision['features'])} values", f"{len(ground.columns)} values")]
    books.restore(closed.bar["ledger"], [])
    position = books.seen()
    pairs = [
        *zip(ground.columns, decision["features"], again.features, strict=True),
        *zip(_POSITION, decision["position"], map(float, position), strict=True),
    ]
    found = [(name, value_text(one), value_text(other)) for name, one, other in pairs if not same(one, other)]
    if closed.failed and decision["action"] == Action.HOLD:
        with contextlib.suppress(Exception):  # one that was only late is remembered
            ground.act(again, position)
        return found
    action = ground.act(again, position)
    if action != decision["action"]:
        found.append((causes.ACTION, action_text(decision["action"]), action_text(action)))
    return found


def _difference(closed: Closed, found: list[Found], cause: str) -> Difference:
    what, recorded, computed = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return Difference(
        bar=closed.number, time=closed.time, what=f"{what}{more}", recorded=recorded, computed=computed, cause=cause
    )
