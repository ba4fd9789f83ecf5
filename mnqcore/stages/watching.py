"""Who is told how a session goes: the status file, alerts, a sign of life, the observers of plugins, the screen.

None of them can hold up or end a session: one that raises is named once, and what it raises later is ignored.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError
from mnqcore.trading.alerts import Alerts, Heartbeat
from mnqcore.trading.memory import State
from mnqcore.trading.session import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mnqcore.plugins import Plugins
    from mnqcore.strategy.model import Strategy
    from mnqcore.trading.session import Session

_LOG = logging.getLogger(__name__)
_AWAKE = 30.0
"""Seconds without a look at the session after which it counts as hung."""
_UNWELL = frozenset((State.DISCONNECTED, State.CONNECTING, State.HALTED))


class Watchers(Watcher):
    """Several watchers as one; what one of them raises does not reach the session, nor the others."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)
        self._named: set[tuple[str, str]] = set()

    def alert(self, level: str, message: str) -> None:
        """Tell all."""
        self._tell(lambda one: one.alert(level, message))

    def closed(self, trade: Mapping[str, int]) -> None:
        """Tell all."""
        self._tell(lambda one: one.closed(trade))

    def looked(self, session: Session) -> None:
        """Let all look."""
        for one in self._watchers:  # at every turn of the loop: no closure
            try:
                one.looked(session)
            except (Exception, SystemExit) as error:
                self._name(one, error)

    def _tell(self, call: Callable[[Watcher], None]) -> None:
        for one in self._watchers:
            try:
                call(one)
            except (Exception, SystemExit) as error:
                self._name(one, error)

    def _name(self, watcher: Watcher, error: BaseException) -> None:
        """Say once what went wrong."""
        key = (type(watcher).__name__, _text(error))
        if key not in self._named and len(self._named) < 100:
            self._named.add(key)
            _LOG.warning("%s; trading goes on", key[1])


def _text(error: BaseException) -> str:
    """Return an error as one line."""
    if isinstance(error, MnqError):
        more = error.facts.get("why") or error.facts.get("found")
        return f"{error.what}: {more}" if more else error.what
    what = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {what}" if what else type(error).__name__


def ignored(call: Callable[[], None]) -> None:
    """Call an observer; what it raises is said, and that is all."""
    try:
        call()
    except (Exception, SystemExit) as error:
        _LOG.warning("%s; trading goes on", _text(error))


@attrs.frozen(kw_only=True, eq=False)
class Sitting:
    """A session as observers of plugins see a run: whose it is, and where it lies meanwhile."""

    strategy: str
    digest: str
    name: str
    folder: Path
    mode: str
    account: str


class Observers(Watcher):
    """Tells the observers of plugins of alerts and trades."""

    def __init__(self, plugins: Plugins, sitting: Sitting, session: Session) -> None:
        self._plugins, self._sitting, self._session = plugins, sitting, session
        self._bars: dict[int, tuple[int, str]] = {}

    def alert(self, level: str, message: str) -> None:
        """Tell of an alert."""
        self._plugins.alert(self._sitting, level, message)

    def closed(self, trade: Mapping[str, int]) -> None:
        """Tell of a round trip, as a row of the run's trades."""
        if "trade_closed" in self._plugins.observed:
            self._plugins.trade_closed(self._sitting, self._row(trade))

    def looked(self, session: Session) -> None:
        """Remember the newest bar: trades name theirs by number."""
        if session.desk.last is not None:
            self._bars[session.desk.last.number] = (session.desk.last.start, session.desk.last.contract)

    def _row(self, trade: Mapping[str, int]) -> dict[str, Any]:
        import numpy as np
        import pandas as pd

        from mnqcore.simulator.outcome import trade_columns, trade_table
        from mnqcore.stages.traded import records

        self.looked(self._session)
        (entry, contract), (leave, _) = self._bar(trade["entry_bar"]), self._bar(trade["exit_bar"])
        moved = records([{**trade, "entry_bar": 0, "exit_bar": 1}])
        times = pd.DatetimeIndex(np.array([entry, leave], "M8[ns]"), tz="UTC")
        columns = trade_columns(moved, self._session.desk.strategy.instrument)
        table = trade_table(columns, times, np.array([contract, contract], object))
        row = {str(key): value for key, value in table.iloc[0].items()}
        return row | {"entry_bar": trade["entry_bar"], "exit_bar": trade["exit_bar"]}

    def _bar(self, number: int) -> tuple[int, str]:
        """Return start and contract of a bar; those before a restart are in the journal."""
        if number not in self._bars:
            for event in self._session.desk.memory.journal.events(("bar",)):
                if "number" in event.data:
                    self._bars[event.data["number"]] = (event.data["time"], event.data["contract"])
        return self._bars[number]


class Voice(Watcher):
    """Sends alerts where the strategy wants them, and a sign of life while all is well."""

    def __init__(self, strategy: Strategy, account: str, folder: Path) -> None:
        """Read the secrets; UsageError where one is missing."""
        self._beat = Heartbeat(strategy.trade.heartbeat)
        self._alerts = Alerts(strategy.trade.alerts, strategy=strategy.name, account=account, folder=folder)
        self._state, self._looked = State.CONNECTING, time.monotonic()

    def start(self) -> None:
        """Begin with the sign of life."""
        self._beat.start(self.healthy)

    def healthy(self) -> bool:
        """Whether the loop runs and is connected, and nobody is needed."""
        return self._state not in _UNWELL and time.monotonic() - self._looked < _AWAKE

    def alert(self, level: str, message: str) -> None:
        """Send an alert."""
        self._alerts.send(level, message)

    def looked(self, session: Session) -> None:
        """Note that the loop runs."""
        self._state, self._looked = session.desk.memory.state, time.monotonic()

    def close(self) -> None:
        """Send what is queued, and end."""
        self._beat.stop()
        self._alerts.close()
