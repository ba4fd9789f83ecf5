"""Folders of sessions: whose they are, which process has one, and what is needed to reach its broker without it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import Login
from mnqcore.errors import DataError, MnqError, UsageError, suggest
from mnqcore.trading import control, journal, status
from mnqcore.trading.journal_file import Lease

if TYPE_CHECKING:
    from mnqcore.trading.assemble import Setup

SCHEMA = "mnq.login/1"
FILE = "login.json"
_MARK = ".session-"


@attrs.frozen(kw_only=True)
class Access:
    """What reaches a session's broker: no strategy, model or journal is needed. `session`: begins its refs."""

    use: str
    params: dict[str, Any]
    strategy: str
    session: str
    login: Login

    def document(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        plain = attrs.asdict(self.login) | {"bar_size": str(self.login.bar_size)}
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in ("use", "params", "strategy", "session")},
                "login": plain}  # fmt: skip

    @classmethod
    def of(cls, said: dict[str, Any]) -> Access:
        """Return what `document` made; ValueError where it did not."""
        import pandas as pd

        from mnqcore.market.instruments import Instrument

        if not isinstance(said, dict) or said.get("schema") != SCHEMA:
            raise ValueError(f"it is no {SCHEMA}")
        plain = dict(said["login"])
        plain |= {
            "instrument": Instrument(**plain["instrument"]),
            "bar_size": pd.Timedelta(plain["bar_size"]),
            "plugins": tuple(plain["plugins"]),
        }
        params = {name: tuple(value) if isinstance(value, list) else value for name, value in said["params"].items()}
        return cls(
            use=said["use"], params=params, strategy=said["strategy"], session=said["session"], login=Login(**plain)
        )


@attrs.frozen
class Place:
    """The folder of a session that has not ended for good."""

    folder: Path

    @property
    def strategy(self) -> str:
        """The name of its strategy."""
        return self.folder.parent.name

    @property
    def title(self) -> str:
        """How a person calls it: strategy, mode and account."""
        return f"{self.strategy} {self.folder.name.removeprefix(_MARK)}"

    @property
    def journal(self) -> Path:
        """Its journal."""
        return self.folder / journal.FILE

    def holder(self) -> int | None:
        """Return the process that runs it, 0 where that does not tell its id, None where none does."""
        if not self.journal.with_name(f"{self.journal.name}.lock").exists():
            return None
        try:
            Lease(self.journal).release()
        except DataError as error:
            found = error.facts.get("found", "").rpartition(" ")[2]
            return int(found) if found.isdecimal() else 0
        return None

    def access(self) -> Access:
        """Return what reaches its broker.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return Access.of(json.loads((self.folder / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                "it is not known how to reach the broker of this session",
                where=str(self.folder / FILE),
                found=str(error) or type(error).__name__,
                next="look after the position at the broker itself",
            ) from error

    def status(self) -> dict[str, Any] | None:
        """Return how it last said it stood."""
        return status.read(self.folder)

    def take_over(self, process: int, patience: float = 5.0) -> None:
        """End the process that has it, whatever that is doing; its orders stay at the broker.

        Raises:
            MnqError: it does not end.
        """
        if process <= 0 or process == os.getpid():
            raise MnqError("the process of this session is not known", next="end it by hand")
        try:
            os.kill(process, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        except OSError as error:
            raise MnqError(f"process {process} cannot be ended", found=error.strerror or str(error)) from error
        until = time.monotonic() + patience
        while self.holder() is not None:
            if time.monotonic() > until:
                raise MnqError(f"process {process} does not end", where=str(self.folder))
            time.sleep(0.05)


def keep_access(setup: Setup, session: str) -> None:
    """Write what reaches the broker into a session's folder, for its owner alone.

    Raises:
        UsageError: it cannot be written: nothing is traded that could not be looked after.
    """
    from mnqcore.market.bars import bar_size

    strategy = setup.strategy
    login = Login(
        account=setup.account,
        mode=setup.mode,
        instrument=strategy.instrument,
        bar_size=bar_size(strategy.bar_size),
        file=str(setup.file),
        plugins=tuple(setup.plugins),
        folder=str(setup.folder),
    )
    broker = strategy.trade.broker
    access = Access(use=broker.use, params=dict(broker.params), strategy=strategy.name, session=session, login=login)
    try:
        control.put(setup.folder / FILE, access.document())
    except OSError as error:
        found = error.strerror or str(error)
        raise UsageError("the folder of the session cannot be written", where=str(setup.folder), found=found) from error


def all_places(base: Path) -> list[Place]:
    """Return the sessions under a runs directory that have not ended for good."""
    return [Place(path.resolve()) for path in sorted(base.glob(f"*/{_MARK}*")) if path.is_dir()]


def find(base: Path, name: str | None) -> Place:
    """Return the session that is meant: by its folder, its strategy, a part of its title, or the only one.

    Raises:
        UsageError: there is none, or several.
    """
    if name is not None and (Path(name) / FILE).is_file():
        return Place(Path(name).resolve())
    places = all_places(base)
    fitting = [one for one in places if name is None or _fits(one, name)]
    if len(fitting) > 1:
        running = [one for one in fitting if one.holder() is not None]
        fitting = running if len(running) == 1 else fitting
    if len(fitting) == 1:
        return fitting[0]
    if not places or (name is None and not fitting):
        raise UsageError("no session is under way", where=str(base), next="mnq run FILE -s NAME --stage trade")
    if fitting:
        raise UsageError(
            f"{len(fitting)} sessions are under way: say which",
            found="; ".join(_told(one) for one in fitting),
            next="mnq trade COMMAND STRATEGY, or the folder of the session",
        )
    meant = suggest(str(name), [one.strategy for one in places])
    raise UsageError(
        f"no session {name!r} is under way",
        found="; ".join(_told(one) for one in places),
        next=f"did you mean {meant}?" if meant else "a session that has ended is a run: mnq runs list",
    )


def _fits(place: Place, name: str) -> bool:
    where = place.folder.as_posix()
    return name in (place.strategy, place.title, place.folder.name) or where.endswith(f"/{name.strip('/')}")


def _told(place: Place) -> str:
    holder = place.holder()
    return f"{place.title} ({'its process has ended' if holder is None else f'process {holder}'})"
