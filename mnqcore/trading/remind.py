"""An agent that remembers, at a restart: it is shown again what it decided on, which is how its memory is rebuilt."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError
from mnqcore.trading.parity.ground import FromAnchors, Whole
from mnqcore.trading.parity.record import read
from mnqcore.trading.rows import Table

if TYPE_CHECKING:
    import pandas as pd

    from mnqcore.trading.assemble import Setup
    from mnqcore.trading.clockwork import Clockwork
    from mnqcore.trading.desk import Mind
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.parity.ground import Again
    from mnqcore.trading.parity.record import Closed


def remind(setup: Setup, mind: Mind, journal: Journal, clock: Clockwork, bars: pd.DataFrame) -> None:
    """Show a mind, in their order, the windows and positions of every decision that a journal holds.

    `bars`: those that the session knows, its history included.

    Raises:
        DataError: the bars do not reach back so far, or the mind decides otherwise now.
    """
    record = read(journal)
    again = _again(setup, record.bars, clock, bars)
    for closed in record.bars:
        if closed.decision is None:
            continue
        with contextlib.suppress(*((Exception,) if closed.failed else ())):
            action = _shown(mind, again, closed, closed.decision)
            if action != closed.decision["action"] and not closed.failed:
                raise DataError(
                    "the agent decides otherwise than it did: what it remembers cannot be rebuilt",
                    where=f"bar {closed.number}",
                    found=f"action {action}, the journal says {closed.decision['action']}",
                    next="mnq trade flatten, then begin a new session",
                )


def _shown(mind: Mind, again: Again, closed: Closed, decision: dict[str, Any]) -> int:
    import numpy as np

    row = again.row(closed)
    if row is None:
        raise DataError("the bars do not reach back to where the session began", where=f"bar {closed.number}")
    return int(mind.act(row, np.array(decision["position"], np.float32)))


def _again(setup: Setup, record: list[Closed], clock: Clockwork, bars: pd.DataFrame) -> Again:
    strategy, scaler = setup.strategy, setup.brain.scaler
    if setup.tape is not None:
        return Whole(strategy=strategy, table=Table.of(strategy, setup.tape, clock, scaler), scaler=scaler, bars=bars)
    last = {int(closed.anchor["bar"]): closed.time for closed in record if closed.anchor is not None}
    return FromAnchors(
        strategy=strategy, clocks=[clock], scaler=scaler, bars=bars, feeds=setup.feeds, last=last, complete=True
    )  # fmt: skip
