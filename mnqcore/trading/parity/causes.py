"""Why bars and decisions differ, where it can be told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

from mnqcore.market.bars import PRICES
from mnqcore.trading.parity.texts import same

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mnqcore.trading.parity.ground import Ground
    from mnqcore.trading.parity.record import Closed
    from mnqcore.trading.rows import Seen

    Pairs = Sequence[tuple[Closed, Seen]]

ACTION = "action"
"""What the agent chose, among the names of what differs."""
_ALIKE = 0.99  # share of the decisions that a shift has to explain
Found = tuple[str, str, str]
"""What differs, as recorded, as computed."""


@attrs.frozen(kw_only=True, eq=False)
class Causes:
    """Names causes. `shift`: that of decisions which belong to another bar. `decided`: names of what a decision holds.

    `revised`: start of the first bar that is another now, None where there is none.
    """

    ground: Ground
    shift: str
    decided: frozenset[str]
    revised: int | None

    @classmethod
    def of(cls, seen: Pairs, wrong: Sequence[tuple[Closed, Seen | None, list[Found]]], ground: Ground) -> Causes:
        """Look at all that differs for what explains many of it."""
        decided = frozenset((*ground.columns, ACTION))
        moved = {closed.number for closed, _, found in wrong if decided.intersection(name for name, _, _ in found)}
        revised = min((closed.time for closed, _, found in wrong if _changed(found)), default=None)
        return cls(ground=ground, shift=_shift(seen, moved, ground), decided=decided, revised=revised)

    def __call__(self, closed: Closed, again: Seen | None, found: list[Found]) -> str:
        """Return why a bar differs, empty where it cannot be told."""
        names = [name for name, _, _ in found]
        if changed := _changed(found):
            return f"this bar was revised: {', '.join(f'{name} {was} now {now}' for name, was, now in changed)}"
        if "number" in names:
            return "a bar is missing from the journal, or stands in it twice"
        if "decision" in names:
            return "the journal lacks the decision of this bar"
        if again is None or closed.decision is None or not self.decided.intersection(names):
            return ""
        if self.shift:
            return self.shift
        if self.revised is not None and self.revised < closed.time:
            return "a bar before it was revised"
        return self._foresight(closed, again) or self.ground.versions

    def _foresight(self, closed: Closed, again: Seen) -> str:
        """Return whether a bar's row is another once later bars are known."""
        alone = self.ground.again.alone(closed)
        if alone is None:
            return ""
        pairs = zip(self.ground.columns, alone.features, again.features, strict=True)
        names = [name for name, one, other in pairs if not same(one, other)]
        if not names and alone.action == again.action:
            return ""
        what = ", ".join(names[:3]) or "the agent's action"
        return f"a plugin knows the future: {what} is another once later bars are known"


def _changed(found: list[Found]) -> list[Found]:
    return [one for one in found if one[0] in (*PRICES, "volume")]


def _shift(seen: Pairs, moved: Collection[int], ground: Ground) -> str:
    """Return in words by how much decisions are shifted, where that explains them."""
    later = [(mine[0], other[1]) for mine, other in zip(seen[1:], seen[:-1], strict=True)]
    sooner = [(mine[0], other[1]) for mine, other in itertools.pairwise(seen)]
    for pairs, word in ((later, "before"), (sooner, "after")):
        if _explains(pairs, moved, ground):
            return f"the decision is that of the bar {word}: shifted by one bar"
    return ""


def _explains(pairs: Pairs, moved: Collection[int], ground: Ground) -> bool:
    """Whether decisions that differ are those of the rows beside them."""
    hits = [_is_of(closed, other, ground) for closed, other in pairs if closed.number in moved]
    if not hits or sum(hits) < _ALIKE * len(hits):
        return False
    if ground.columns:
        return True
    # Actions are few: only where all of them fit the neighbour it is more than chance.
    every = [_is_of(closed, other, ground) for closed, other in pairs if closed.decision is not None]
    return sum(every) >= _ALIKE * len(every) and len(hits) > 1


def _is_of(closed: Closed, other: Seen, ground: Ground) -> bool:
    decision = closed.decision
    if decision is None:
        return False
    if ground.columns:
        return len(decision["features"]) == len(other.features) and all(map(same, decision["features"], other.features))
    return bool(decision["action"] == other.action)
