"""Notes each evaluation on test bars, and what a figure is still worth after so many looks at them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from mnqcore.stages.backtest import Backtest

_NO_TEST = ("validate", "in-sample")
"""Windows on which nobody claims to test."""


def look(base: Path, run: str, made: Backtest) -> dict[str, Any] | None:
    """Note that a backtest has looked at its bars; return how often that was done, and the deflated Sharpe ratio.

    None where the bars are no test: those that a model was trained on, or chosen by. They are no figures of the run
    itself, since they change with every other run.

    Args:
        base: the runs directory.
        run: what the run will be called.
        made: the backtest.
    """
    from mnqcore.metrics import risk
    from mnqcore.metrics.deflated import deflated_sharpe, expected_best
    from mnqcore.runs.looks import RULE, Look, note, tally

    if made.metrics.get("window", {}).get("name") in _NO_TEST:
        return None
    returns, window, facts = made.returns, made.equity.index, made.model or {}
    found = Look(
        strategy=made.strategy.name,
        digest=made.strategy.digest(),
        model=_of(facts["weights"]) if facts else RULE,
        data_sha256=made.facts["data_sha256"],
        first=window[0].isoformat(),
        last=window[-1].isoformat(),
        sharpe=risk.sharpe(returns, 1.0),
        days=len(returns),
        run=run,
    )
    for other in facts.get("others", ()):
        note(base, attrs.evolve(found, model=_of(other["weights"]), sharpe=other["sharpe"]))
    note(base, found)
    seen = tally(base, found.data_sha256, found.first, found.last)
    return {
        "looks": seen.count,
        "strategies": seen.strategies,
        "trials": seen.trials,
        "spread": seen.spread,
        "expected_best": None if seen.spread is None else expected_best(seen.trials, seen.spread),
        "deflated_sharpe": deflated_sharpe(returns, seen.trials, seen.spread),
    }


def _of(weights: list[str]) -> str:
    """Return one sha256 for the models of a seed."""
    return hashlib.sha256("".join(weights).encode()).hexdigest()
