"""Puts a session together: strategy, model, broker, journal, and what they need of each other."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import Login
from mnqcore.api.values import BarRequest
from mnqcore.errors import BrokerError, UsageError
from mnqcore.trading import journal as journals
from mnqcore.trading.account import refuse_other_account
from mnqcore.trading.books import Books
from mnqcore.trading.clockwork import Clockwork, next_roll
from mnqcore.trading.desk import Desk, Standing
from mnqcore.trading.feed import Feed
from mnqcore.trading.memory import Memory
from mnqcore.trading.orders import Orders
from mnqcore.trading.protection import Protection
from mnqcore.trading.recall import Recalled, recall
from mnqcore.trading.remind import remind
from mnqcore.trading.rows import Anchored, Learned, Replayed, Rule, Table, history_bars
from mnqcore.trading.session import Session, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from mnqcore.api.port import AccountState, Broker
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Tape
    from mnqcore.tape.feeds import Feed as FeedBars
    from mnqcore.tape.scaler import Scaler
    from mnqcore.trading.desk import Mind
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.reconcile import Truth


@attrs.frozen(kw_only=True, eq=False)
class Brain:
    """What chooses: None of it for a rule.

    `scaler` and `decide` of a model; `sha256` of its manifest; `run`: name of the run that it was taken from;
    `remembers`: what it decides depends on what it was shown before.
    """

    scaler: Scaler | None = None
    decide: Callable[[Any, Any], int] | None = None
    sha256: str = ""
    run: str = ""
    remembers: bool = False

    @property
    def mind(self) -> Mind:
        """What is asked for an action."""
        return Rule() if self.decide is None else Learned(self.decide)


@attrs.frozen(kw_only=True, eq=False)
class Setup:
    """What a session is made of.

    `folder`: of the session. `file`: the resolved strategy in it. `plugins`: `-p` values. `tape`: of all bars of the
    data source, for a replay, else None. `feeds`: those that have data of their own. `versions`: name -> version, for
    the journal.
    """

    strategy: Strategy
    mode: str
    account: str
    folder: Path
    plugins: Sequence[str]
    brain: Brain
    tape: Tape | None
    versions: dict[str, str]
    feeds: Mapping[str, FeedBars] = attrs.field(factory=dict)

    @property
    def file(self) -> Path:
        """The resolved strategy."""
        return self.folder / "resolved.toml"


async def assemble(setup: Setup, journal: Journal, watcher: Watcher) -> Session:
    """Connect to the broker, read the journal, and return the session, ready to run.

    Raises:
        BrokerError: it cannot be reached, or is not the one expected.
        DataError: the history is no history.
    """
    import pandas as pd

    from mnqcore.market.bars import bar_size

    strategy = setup.strategy
    size = bar_size(strategy.bar_size)
    broker: Broker = strategy.trade.broker.build()
    await broker.connect(_login(setup, size))
    request = BarRequest(
        instrument=strategy.instrument, bar_size=size, session="rth" if strategy.session.rth else "full"
    )
    source = _source(broker, setup)
    newest = journal.last("bar")
    dealt_with = None if newest is None else pd.Timestamp(newest.data["time"], unit="ns", tz="UTC")
    history = await _history(source, attrs.evolve(request, end=dealt_with))
    clock = Clockwork(_calendar(strategy), strategy.session, size, known_rolls(strategy, setup.tape, history))
    feed = Feed(strategy.instrument, _calendar(strategy), size, history=history, trusted=setup.tape is not None)
    memory = Memory(
        journal=journal, orders=Orders(), books=new_books(strategy, _day(clock, feed)), session=journal.header.session
    )
    known = recall(memory, journal, clock.trading_day)
    _refuse_other_model(setup, known)
    desk = _desk(setup, memory, clock)
    last = feed.newest if known.bar is None else known.bar["time"]
    session = Session(
        desk=desk,
        broker=broker,
        source=source,
        feed=feed,
        rows=_rows(setup, clock, feed, memory, known),
        request=attrs.evolve(request, start=None if last is None else pd.Timestamp(last, unit="ns", tz="UTC")),
        standing=lambda truth: standing(setup, clock, truth),
        watcher=watcher,
        foreign=known.foreign,
        number=-1 if known.bar is None else known.bar["number"],
    )
    if known.bar is not None:
        desk.last = session.rows.row(known.bar["time"], known.bar["number"])
        if setup.brain.remembers:
            remind(setup, desk.mind, journal, clock, feed.bars())
    memory.now, memory.mono = session.now(), time.monotonic()
    _note_start(setup, memory, known)
    return session


def _desk(setup: Setup, memory: Memory, clock: Clockwork) -> Desk:
    strategy, limits = setup.strategy, setup.strategy.trade.limits
    protection = Protection(
        memory=memory,
        wanted=getattr(strategy.bracket.cls, "protects", True),
        patience=limits.uncovered_seconds,
        stuck=limits.stop_seconds,
    )
    return Desk(
        strategy=strategy, mode=setup.mode, memory=memory, clock=clock, protection=protection, mind=setup.brain.mind
    )


def _note_start(setup: Setup, memory: Memory, known: Recalled) -> None:
    strategy = setup.strategy
    memory.note(
        "start",
        restart=known.starts,
        versions=setup.versions,
        digest=strategy.digest(),
        model=setup.brain.sha256 or None,
        model_run=setup.brain.run or None,
        settings={name: attrs.asdict(getattr(strategy, name)) for name in ("costs", "risk", "session")},
        limits=attrs.asdict(strategy.trade.limits),
    )


def _refuse_other_model(setup: Setup, known: Recalled) -> None:
    if known.starts and known.model != setup.brain.sha256:
        raise _begun_with_another(setup, "model", known.model, setup.brain.sha256)


def _begun_with_another(setup: Setup, what: str, then: str, now: str) -> UsageError:
    return UsageError(
        f"this session was begun with another {what}",
        where=str(setup.folder),
        found=f"{what} sha {then[:8]}, now {now[:8]}",
        next="go on with the old one, or end it: mnq trade flatten, then remove the folder",
    )


def remembered(setup: Setup, journal: Journal) -> Memory:
    """Return the memory of a session that has ended, from its journal alone."""
    from mnqcore.market.bars import bar_size

    strategy = setup.strategy
    clock = Clockwork(_calendar(strategy), strategy.session, bar_size(strategy.bar_size))
    memory = Memory(journal=journal, orders=Orders(), books=new_books(strategy, 0), session=journal.header.session)
    recall(memory, journal, clock.trading_day)
    return memory


def open_journal(setup: Setup) -> Journal:
    """Return the journal of a session: the one that is there, or a new one.

    Raises:
        DataError: it is damaged, of another account, or another process writes it.
        UsageError: the strategy is another one than when the session began.
    """
    path = setup.folder / journals.FILE
    strategy = setup.strategy
    if path.exists():
        found = journals.Journal.open(path, account=setup.account, mode=setup.mode)
        if found.header.digest != strategy.digest():
            found.close()
            raise _begun_with_another(setup, "strategy", found.header.digest, strategy.digest())
        return found
    header = journals.Header(
        account=setup.account,
        mode=setup.mode,
        strategy=strategy.name,
        digest=strategy.digest(),
        session=secrets.token_hex(4),
        instrument=attrs.asdict(strategy.instrument),
        versions=setup.versions,
        created=time.time_ns(),
    )
    return journals.Journal.create(path, header)


def standing(setup: Setup, clock: Clockwork, truth: Truth) -> Standing:
    """Return what the world rules have to know of account and contracts; BrokerError where it is another account."""
    account, instrument = truth.account, setup.strategy.instrument
    refuse_other_account(setup.account, account)
    contract = "; ".join(
        f"{facts.contract}: tick {facts.tick_size} worth {facts.tick_value} {facts.currency}"
        for facts in truth.facts
        if (facts.tick_size, facts.tick_value, facts.currency)
        != (instrument.tick_size, instrument.tick_value, instrument.currency)
    )
    days_left = [_days_left(clock, facts.last_day, account.time) for facts in truth.facts if facts.last_day]
    return Standing(
        available=None if setup.mode == "replay" else account.available,
        days_left=min(days_left, default=None),
        contract_complaint=contract,
        account_complaint=_account_complaint(setup, account),
    )


def _account_complaint(setup: Setup, account: AccountState) -> str:
    """Return why an account is not of the kind that the mode wants, or nothing."""
    paper = setup.mode != "live"
    return "" if account.paper == paper else f"{account.id} is {'a paper' if account.paper else 'a live'} account"


def _days_left(clock: Clockwork, last_day: str, now: int) -> int:
    import numpy as np

    return int(np.busday_count(np.datetime64(clock.trading_day(now), "D"), np.datetime64(last_day, "D")))


def _login(setup: Setup, size: pd.Timedelta) -> Login:
    return Login(
        account=setup.account,
        mode=setup.mode,
        instrument=setup.strategy.instrument,
        bar_size=size,
        file=str(setup.file),
        plugins=tuple(setup.plugins),
        folder=str(setup.folder),
    )


def _source(broker: Any, setup: Setup) -> Any:
    """Return what delivers the bars: the data source where it can, else the broker."""
    source = setup.strategy.data.build()
    if hasattr(source, "stream") and setup.tape is None:
        return source
    if hasattr(broker, "stream"):
        return broker
    raise BrokerError(
        f"nobody delivers bars: neither data source '{setup.strategy.data.use}' nor broker "
        f"'{setup.strategy.trade.broker.use}'",
        next="take a data source or a broker that streams",
    )


async def _history(source: Any, request: BarRequest) -> pd.DataFrame | None:
    """Return the bars up to `request.end`, or before the first that is streamed; None where there are none."""
    if hasattr(source, "history"):
        found: pd.DataFrame = await source.history(request)
    else:
        found = await asyncio.to_thread(source.bars, request)
    return found if len(found) else None


def known_rolls(strategy: Strategy, tape: Tape | None, history: pd.DataFrame | None) -> list[int]:
    """Return when the lead changes, as far as that is known beforehand, UTC ns.

    `tape`: of all bars, for a replay, else None. `history`: the bars before a start, None if there are none.
    """
    if tape is not None:
        return list(tape.market.changes)
    if history is None or "contract" not in history:
        return []
    calendar = _calendar(strategy)
    names = history["contract"].unique()
    found = [next_roll(str(name), history.index[-1].year, calendar) for name in names]
    return sorted({roll for roll in found if roll is not None})


def _day(clock: Clockwork, feed: Feed) -> int:
    """Return the trading day of the newest bar, 0 before there is one."""
    return 0 if feed.newest is None else clock.trading_day(feed.newest)


def new_books(strategy: Strategy, day: int) -> Books:
    """Return the books that a session begins with; `day`: the trading day of the newest bar before, 0 if none."""
    from mnqcore.simulator import rulebook
    from mnqcore.tape.calls import size_of

    books = Books(
        rulebook(strategy.instrument, strategy.costs, strategy.risk),
        strategy.costs.initial_balance,
        size_of=size_of(strategy.sizer, strategy.sizer.build()),
        lookback=strategy.lookback,
        day=day,
    )
    books.ledger["bar"] = -1  # the first bar has yet to close
    return books


def _rows(setup: Setup, clock: Clockwork, feed: Feed, memory: Memory, known: Recalled) -> Any:
    strategy, scaler = setup.strategy, setup.brain.scaler
    if setup.tape is not None:
        table = Table.of(strategy, setup.tape, clock, scaler)
        return Replayed(strategy=strategy, table=table, scaler=scaler, delivered=feed.bars)
    rows = Anchored(
        strategy=strategy,
        clock=clock,
        scaler=scaler,
        since=feed.since,
        feeds=setup.feeds,
        anchors=lambda bar, first: memory.note("anchor", bar=bar, first=first),
        history=history_bars(strategy),
    )
    if known.anchor is not None:
        rows.recall(known.anchor["bar"], known.anchor["first"])
    return rows


def _calendar(strategy: Strategy) -> Any:
    from mnqcore.market.calendar import Calendar

    return Calendar(strategy.instrument, rth=strategy.session.rth)
