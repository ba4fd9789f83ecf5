"""What a session came to, as a run: trades, equity and figures from its journal, which is kept beside them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.runs import Run
    from mnqcore.strategy.model import Strategy
    from mnqcore.trading.assemble import Setup
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.session import Session


@attrs.frozen(kw_only=True, eq=False)
class Course:
    """The bars of a session, as its journal has them, one after the other.

    `times`: UTC starts. `contracts`: whose. `equity`: dollars at each close. `days`: datetime64[D], trading days.
    """

    times: pd.DatetimeIndex
    contracts: NDArray[np.object_]
    equity: NDArray[np.float64]
    days: NDArray[np.datetime64]


def course(journal: Journal, strategy: Strategy) -> Course:
    """Return the course of a journal's bars."""
    import numpy as np
    import pandas as pd

    from mnqcore.market.calendar import Calendar
    from mnqcore.market.instruments import MICRO

    starts: list[int] = []
    contracts: list[str] = []
    equity: list[int] = []
    for event in journal.events(("bar",)):
        if "final" in event.data:  # the books where the bars ended
            equity[-1] = event.data["ledger"]["equity"]
            continue
        starts.append(event.data["time"])
        contracts.append(event.data["contract"])
        equity.append(event.data["ledger"]["equity"])
    times = pd.DatetimeIndex(np.array(starts, "M8[ns]"), name="time", tz="UTC")
    calendar = Calendar(strategy.instrument, rth=strategy.session.rth)
    return Course(
        times=times,
        contracts=np.array(contracts, object),
        equity=np.array(equity, np.float64) / MICRO,
        days=calendar.locate(times).day,
    )


def records(rows: list[dict[str, int]]) -> NDArray[np.void]:
    """Return round trips of the books as TRADE records."""
    import numpy as np

    from mnqcore.simulator.records import TRADE

    found = np.zeros(len(rows), TRADE)
    for at, row in enumerate(rows):
        for name, value in row.items():
            found[name][at] = value
    return found


def keep(setup: Setup, session: Session, base: Path) -> Run:
    """Make a run of a session that has ended, and remove its folder."""
    from mnqcore.runs import Draft
    from mnqcore.simulator.outcome import trade_columns, trade_table

    strategy, memory = setup.strategy, session.desk.memory
    on = course(memory.journal, strategy)
    columns = trade_columns(records(memory.books.rows), strategy.instrument)
    trades = trade_table(columns, on.times, on.contracts)
    draft = Draft(base=base, strategy=strategy.name, digest=strategy.digest())
    draft.begin(strategy.to_toml(), sorted((setup.folder / "plugins").glob("*.py")))
    try:
        memory.journal.backup(draft.folder / memory.journal.path.name)
        kept = draft.keep(
            metrics=_figures(setup, session, columns, on),
            tables={"trades": trades, "equity": _series(on).to_frame()},
            manifest=_manifest(setup, on, trades),
        )
    except BaseException:
        draft.discard()
        raise
    memory.journal.close()
    shutil.rmtree(setup.folder, ignore_errors=True)
    return kept


def _series(on: Course) -> pd.Series:
    import pandas as pd

    return pd.Series(on.equity, index=on.times, name="equity")


def _figures(setup: Setup, session: Session, columns: dict[str, Any], on: Course) -> dict[str, Any]:
    from mnqcore.market.calendar import Calendar
    from mnqcore.metrics import summarise
    from mnqcore.rules import Denial

    strategy, memory = setup.strategy, session.desk.memory
    found = summarise(
        columns,
        on.equity,
        on.days,
        initial_balance=strategy.costs.initial_balance,
        days_per_year=Calendar(strategy.instrument, rth=strategy.session.rth).days_per_year,
        instrument=strategy.instrument,
        slippage_ticks=strategy.costs.slippage_ticks,
    )
    denied = {reason.label: int(memory.books.denied[0][reason]) for reason in Denial if reason}
    return {
        "strategy": strategy.name,
        "digest": strategy.digest(),
        **found,
        "denied": denied,
        "session": {
            "mode": setup.mode,
            "ended": session.ended,
            "state": memory.state.value,
            "starts": memory.journal.count("start"),
            "bars": len(on.times),
            "odd_bars": dict(session.odd),
            "orders": memory.journal.count("intent"),
            "refused": memory.journal.count("denied"),
            "alerts": memory.journal.count("alert"),
        },
    }


def _manifest(setup: Setup, on: Course, trades: pd.DataFrame) -> dict[str, Any]:
    from mnqcore.stages.fingerprint import sha256_of
    from mnqcore.stages.run import described

    strategy = setup.strategy
    return {
        **described(strategy),
        "stage": "trade",
        "mode": setup.mode,
        "data": {
            "bars": len(on.times),
            "first": on.times[0].isoformat(),
            "last": on.times[-1].isoformat(),
            "trading_days": len(set(on.days.tolist())),
            "synthetic": bool(getattr(strategy.data.cls, "synthetic", False)),
        },
        "hashes": {"trades": sha256_of(trades), "equity": sha256_of(_series(on).to_frame())},
        "model": None if not setup.brain.sha256 else {"sha256": setup.brain.sha256},
    }
