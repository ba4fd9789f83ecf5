"""What the rows rest on: each bar's ledger is that of the bar before, the fills in between and the bar itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.trading.parity.outcome import Difference

if TYPE_CHECKING:
    from mnqcore.trading.memory import Memory
    from mnqcore.trading.parity.ground import Ground
    from mnqcore.trading.parity.outcome import Row
    from mnqcore.trading.parity.record import Closed
    from mnqcore.trading.rows import Seen

ABOUT = "money and round trips at each close, given the fills"


def look(row: Row, closed: Closed, ground: Ground, memory: Memory) -> Seen | None:
    """Let a bar close on the ledger of the bar before, and compare; returns the bar's row.

    `memory`: as it was when the bar closed, with the recorded ledger of the bar before.
    """
    again, books = ground.again.row(closed), memory.books
    if again is None:
        row.left += 1
        return None
    booked = books.close(again.now, closed.bar["end"])
    if closed.decision is not None:
        following = np.array([ground.clock(closed).following(closed.time)], again.now.dtype)
        books.decide(again.now, again.order, following, closed.decision["action"])
    _compare(row, closed, closed.bar, booked, memory)
    return again


def finish(row: Row, closed: Closed, again: Seen, data: dict[str, Any], memory: Memory) -> None:
    """Compare what was booked where the bars ended; `closed`, `again`: the last bar."""
    _compare(row, closed, data, memory.books.finish(again.now), memory)


def _compare(row: Row, closed: Closed, data: dict[str, Any], booked: list[dict[str, int]], memory: Memory) -> None:
    row.compared += 1
    found = _trades(data["booked"], booked)
    made, kept = memory.books.state(), data["ledger"]
    found += [(name, f"{kept.get(name)}", f"{value}") for name, value in made.items() if kept.get(name) != value]
    if found:
        what, was, now = found[0]
        row.differences.append(
            Difference(bar=closed.number, time=closed.time, what=what, recorded=was, computed=now, cause=_why(found))
        )


def _trades(kept: list[dict[str, int]], made: list[dict[str, int]]) -> list[tuple[str, str, str]]:
    if len(kept) != len(made):
        return [("round trips", f"{len(kept)}", f"{len(made)}")]
    return [
        (f"round trip: {name}", f"{one.get(name)}", f"{value}")
        for one, other in zip(kept, made, strict=True)
        for name, value in other.items()
        if one.get(name) != value
    ]


def _why(found: list[tuple[str, str, str]]) -> str:
    names = [name for name, _, _ in found]
    return f"{', '.join(names[1:5])} as well" if len(names) > 1 else ""
