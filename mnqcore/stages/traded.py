"""What a session came to, as a run: trades, equity and figures from its journal, which is kept beside them."""

from __future__ import annotations

import collections
import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError
from mnqcore.stages.reports import FOLDER as REPORTS
from mnqcore.strategy.trade import Log

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.runs import Run
    from mnqcore.strategy.model import Strategy
    from mnqcore.trading.assemble import Setup
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.memory import Memory


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


def keep(setup: Setup, memory: Memory, why: str, base: Path, *, again: bool = False) -> Run:
    """Make a run of a session that has ended, and remove its folder.

    `again`: a process may have been killed in the midst of this; what it had done is not done twice.
    """
    run = (_kept(memory, setup.strategy, base) if again else None) or _made(setup, memory, why, base)
    memory.journal.close()
    shutil.rmtree(setup.folder, ignore_errors=True)
    return run


def _kept(memory: Memory, strategy: Strategy, base: Path) -> Run | None:
    """Return the run that was made of this session before, if there is one."""
    from mnqcore.runs import list_runs

    for run in reversed(list_runs(base)):
        with contextlib.suppress(MnqError):  # a run that cannot be read is not this one
            if run.strategy == strategy.name and run.manifest.get("session") == memory.journal.header.session:
                return run
    return None


def _made(setup: Setup, memory: Memory, why: str, base: Path) -> Run:
    from mnqcore.runs import Draft
    from mnqcore.simulator.outcome import trade_columns, trade_table

    strategy = setup.strategy
    on = course(memory.journal, strategy)
    columns = trade_columns(records(memory.books.rows), strategy.instrument)
    trades = trade_table(columns, on.times, on.contracts)
    draft = Draft(base=base, strategy=strategy.name, digest=strategy.digest())
    draft.begin(strategy.to_toml(), sorted((setup.folder / "plugins").glob("*.py")))
    try:
        memory.journal.backup(draft.folder / memory.journal.path.name)
        _copy_beside(setup, draft.folder)
        kept = draft.keep(
            metrics=_figures(setup, memory, why, trades, on),
            tables={"trades": trades, "equity": _series(on).to_frame()},
            manifest={**_manifest(setup, on, trades), "session": memory.journal.header.session},
        )
    except BaseException:
        draft.discard()
        raise
    return kept


def _copy_beside(setup: Setup, folder: Path) -> None:
    """Copy what else a session has written: its reports, and files of alerts."""
    if (setup.folder / REPORTS).is_dir():
        shutil.copytree(setup.folder / REPORTS, folder / REPORTS)
    for name in {one.path for one in setup.strategy.trade.alerts.values() if isinstance(one, Log)}:
        if (setup.folder / name).is_file() and not (folder / name).exists():
            shutil.copyfile(setup.folder / name, folder / name)


def _series(on: Course) -> pd.Series:
    import pandas as pd

    return pd.Series(on.equity, index=on.times, name="equity")


def _figures(setup: Setup, memory: Memory, why: str, trades: pd.DataFrame, on: Course) -> dict[str, Any]:
    from mnqcore.market.calendar import Calendar
    from mnqcore.metrics import summarise
    from mnqcore.rules import Denial
    from mnqcore.stages.figures import hours

    strategy, journal = setup.strategy, memory.journal
    found = summarise(
        trades,
        on.equity,
        on.days,
        initial_balance=strategy.costs.initial_balance,
        days_per_year=Calendar(strategy.instrument, rth=strategy.session.rth).days_per_year,
        instrument=strategy.instrument,
        slippage_ticks=strategy.costs.slippage_ticks,
        hours=hours(trades, strategy.instrument.timezone),
    )
    denied = {reason.label: int(memory.books.denied[0][reason]) for reason in Denial if reason}
    return {
        "strategy": strategy.name,
        "digest": strategy.digest(),
        **found,
        "denied": denied,
        "session": {
            "mode": setup.mode,
            "ended": why,
            "state": last_state(journal),
            "starts": journal.count("start"),
            "bars": len(on.times),
            "odd_bars": dict(collections.Counter(event.data["verdict"] for event in journal.events(("odd-bar",)))),
            "orders": journal.count("intent"),
            "refused": journal.count("denied"),
            "alerts": journal.count("alert"),
        },
    }


def last_state(journal: Journal) -> str:
    """Return the state that a journal's session was in at last."""
    event = journal.last("state")
    return "" if event is None else str(event.data["state"])


def _manifest(setup: Setup, on: Course, trades: pd.DataFrame) -> dict[str, Any]:
    from mnqcore.stages.fingerprint import sha256_of
    from mnqcore.stages.result import described

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
        "model": None if not setup.brain.sha256 else {"sha256": setup.brain.sha256, "run": setup.brain.run},
    }
