"""Who is told how a session of the trade stage goes, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.stages.reports import Reports
from mnqcore.stages.watching import Observers, Sitting, Voice, Watchers, ignored
from mnqcore.trading.status import Board

if TYPE_CHECKING:
    from mnqcore.plugins import Plugins
    from mnqcore.trading.assemble import Setup
    from mnqcore.trading.session import Session, Watcher


@attrs.frozen
class Audience:
    """Who is told of a session: the observers of plugins, alerts, and whoever called."""

    plugins: Plugins
    voice: Voice
    watcher: Watcher

    def begin(self, setup: Setup, session: Session) -> tuple[Board, Reports]:
        """Let a session tell all of them; returns what knows how it stands, and what reports its days."""
        strategy = setup.strategy
        sitting = Sitting(
            strategy=strategy.name,
            digest=strategy.digest(),
            name=f"{strategy.name}/{setup.folder.name}",
            folder=setup.folder,
            mode=setup.mode,
            account=setup.account,
        )
        board, reports = Board(folder=setup.folder), Reports(session.desk.memory.journal, setup.folder)
        observers = Observers(self.plugins, sitting, session)
        session.watcher = Watchers([board, reports, self.voice, observers, self.watcher])
        ignored(lambda: self.plugins.run_started(sitting))
        self.voice.start()
        return board, reports
