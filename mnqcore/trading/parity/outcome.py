"""What a proof of parity comes to: three rows, the ledger below them, and what was taken as given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class Difference:
    """One row that differs. `bar`: its number in the session, -1 where there is none. `time`: UTC ns, of its start.

    `what`: of the row that differs. `recorded`, `computed`: both as text. `cause`: in words, empty where none is seen.
    """

    bar: int
    time: int
    what: str
    recorded: str
    computed: str
    cause: str = ""


@attrs.define(kw_only=True)
class Row:
    """One row of the proof. `about`: what is compared, in words. `compared`: how many were.

    `left`: how many could not be compared, or not wholly, since what they were made of is not there any more.
    """

    name: str
    about: str
    compared: int = 0
    left: int = 0
    differences: list[Difference] = attrs.field(factory=list)

    @property
    def differ(self) -> int:
        """How many differ."""
        return len(self.differences)

    @property
    def first(self) -> Difference | None:
        """The first that differs."""
        return min(self.differences, key=lambda one: one.time, default=None)


@attrs.frozen(kw_only=True)
class Slippage:
    """How far fills lay from where the bars say, in ticks against us; fills at a target's own price do not count.

    `assumed`: by the strategy. `over`: fills that slipped more than `trade.limits.max_slippage_ticks`.
    """

    count: int
    mean: float
    worst: int
    assumed: int
    over: int


@attrs.frozen(kw_only=True)
class Parity:
    """What a session is against the backtester.

    `exact`: the broker fills by the simulator's rules, so that not one fill may differ; otherwise they are measured.
    `source`: whose bars it was compared on, in words. `given`: what was taken as it was recorded, name -> how often.
    """

    features: Row
    orders: Row
    fills: Row
    ledger: Row
    source: str
    exact: bool
    slippage: Slippage | None
    given: Mapping[str, int]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in their order."""
        return (self.features, self.orders, self.fills, self.ledger)

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not any(row.differ for row in self.rows)
