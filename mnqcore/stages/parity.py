"""Proves a session from what its folder, or the run that came of it, holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from mnqcore.plugins import Plugins
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape.feeds import Feed
    from mnqcore.trading.assemble import Brain
    from mnqcore.trading.clockwork import Clockwork
    from mnqcore.trading.parity.ground import Again, Ground
    from mnqcore.trading.parity.outcome import Parity
    from mnqcore.trading.parity.record import Record


def parity(path: Path, base: Path, plugin_args: Sequence[str] = (), model: str | None = None) -> Parity:
    """Compare what a session did with what the backtester does.

    Args:
        path: its journal; the strategy and copies of `-p` files lie beside it.
        base: where runs lie, that of its model among them.
        plugin_args: `-p` values beyond the copies.
        model: the run that holds its model, where that has another name now.

    Raises:
        UsageError: the strategy or the model is not the one it was begun with, or no bar has closed.
        DataError: the journal is damaged, or the data source has no bars.
        StrategyError, PluginError: the strategy cannot be loaded here, or a plugin broke its contract.
    """
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load
    from mnqcore.trading.assemble import new_books
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.parity import prove
    from mnqcore.trading.parity.record import read

    folder = path.parent
    plugins = load_plugins([*map(str, sorted((folder / "plugins").glob("*.py"))), *plugin_args])
    strategy = load(folder / "resolved.toml", None, plugins)
    with Journal.read(path) as journal:
        if journal.header.digest != strategy.digest():
            raise UsageError(
                "the strategy beside the journal is not the one that the session was begun with",
                where=str(folder),
                found=f"strategy sha {strategy.digest()[:8]}, the journal says {journal.header.digest[:8]}",
            )
        record = read(journal)
        brain = _brain(strategy, plugins, base, record, model)
        ground, day = _ground(strategy, brain, record, journal.header.mode)
        return prove(journal, record, ground, lambda: new_books(strategy, day))


def _brain(strategy: Strategy, plugins: Plugins, base: Path, record: Record, model: str | None) -> Brain:
    """Return what chose in a session."""
    from mnqcore.stages.trade import brain
    from mnqcore.trading.assemble import Brain

    if not strategy.learns:
        return Brain()
    start = next((data for data in reversed(record.started) if data.get("model")), None)
    if start is None:
        raise UsageError("the journal does not say which model chose")
    found, _ = brain(strategy, plugins, base, model or start.get("model_run"), start["model"])
    return found


def _ground(strategy: Strategy, brain: Brain, record: Record, mode: str) -> tuple[Ground, int]:
    """Return what a session is compared on, and the trading day of the bar before its first; 0 if there is none."""
    from mnqcore.stages.prepare import read_feeds
    from mnqcore.trading.parity.ground import Ground, journaled
    from mnqcore.trading.rows import computed

    exact = bool(getattr(strategy.trade.broker.cls, "replays", False))
    if not record.bars:
        raise UsageError("no bar has closed in this session yet")
    recorded = mode == "replay" or strategy.replays
    bars = _bars(strategy) if recorded else journaled(record.bars, strategy.instrument.tick_size)
    feeds = read_feeds(strategy)
    tape = computed(strategy, bars, feeds) if mode == "replay" else None
    market = _laid(strategy, bars) if tape is None else tape.market
    clocks = _clocks(strategy, bars, record, tape)
    mind = brain.mind
    source = f"data source '{strategy.data.use}'" if recorded else "the journal's bars"
    before = bars.index[_times(bars) < record.bars[0].time]
    return Ground(
        strategy=strategy,
        market=market,
        again=_again(strategy, brain, record, tape, bars, feeds, market, clocks, recorded=recorded),
        clocks=clocks,
        act=lambda row, seen: int(mind.act(row, seen)),
        exact=exact,
        source=source,
        versions=_versions(record),
    ), clocks[0].trading_day(int(before[-1].as_unit("ns").value)) if len(before) else 0


def _versions(record: Record) -> str:
    """Return in words what was of another version when the session was started last."""
    from mnqcore.runs import versions

    then = record.started[-1].get("versions", {}) if record.started else {}
    found = [f"{name} {then[name]} then, {now} now" for name, now in versions().items() if then.get(name, now) != now]
    return f"other versions: {'; '.join(found)}" if found else ""


def _again(
    strategy: Strategy, brain: Brain, record: Record, tape: Any, bars: pd.DataFrame,
    feeds: Mapping[str, Feed], market: Any, clocks: Sequence[Clockwork], *, recorded: bool,
) -> Again:  # fmt: skip
    from mnqcore.trading.parity.ground import FromAnchors, Whole, known
    from mnqcore.trading.rows import Table

    if tape is not None:
        table = Table.of(strategy, tape, clocks[0], brain.scaler)
        return Whole(strategy=strategy, table=table, scaler=brain.scaler, bars=bars)
    last: dict[int, int] = {}
    for closed in record.bars:
        if closed.anchor is not None:
            last[int(closed.anchor["bar"])] = closed.time
    return FromAnchors(
        strategy=strategy,
        clocks=clocks,
        scaler=brain.scaler,
        bars=known(bars, market, record.bars) if recorded else bars,
        feeds=feeds,
        last=last,
        complete=recorded,
    )


def _clocks(strategy: Strategy, bars: pd.DataFrame, record: Record, tape: Any) -> list[Clockwork]:
    """Return the clock of each start of a session: which rolls it knows follows from the bars before."""
    from mnqcore.market.bars import bar_size
    from mnqcore.market.calendar import Calendar
    from mnqcore.trading.assemble import known_rolls
    from mnqcore.trading.clockwork import Clockwork

    calendar, size = Calendar(strategy.instrument, rth=strategy.session.rth), bar_size(strategy.bar_size)
    times, found = _times(bars), list[Clockwork]()
    before = record.bars[0].time - 1
    for start in range(max(len(record.started), 1)):
        if start:
            before = max((closed.time for closed in record.bars if closed.start < start), default=before)
        history = bars[times <= before]
        rolls = known_rolls(strategy, tape, history if len(history) else None)
        found.append(Clockwork(calendar, strategy.session, size, rolls))
    return found


def _bars(strategy: Strategy) -> pd.DataFrame:
    """Return a data source's bars within the session."""
    from mnqcore.api.values import BarRequest
    from mnqcore.market.bars import bar_size
    from mnqcore.market.calendar import Calendar
    from mnqcore.tape import calls

    size = bar_size(strategy.bar_size)
    session = "rth" if strategy.session.rth else "full"
    try:
        found = calls.bars(strategy.data, BarRequest(instrument=strategy.instrument, bar_size=size, session=session))
    except DataError as error:
        hint = f"{Path.cwd()}: paths of the data source may be relative to where the session was begun"
        raise DataError(error.what, **error.facts | {"read from": hint}) from error
    import pandas as pd

    inside = Calendar(strategy.instrument, rth=strategy.session.rth).locate(pd.DatetimeIndex(found.index)).session >= 0
    return found if inside.all() else found[inside]


def _laid(strategy: Strategy, bars: pd.DataFrame) -> Any:
    from mnqcore.market.bars import bar_size
    from mnqcore.tape import lay

    return lay(bars, strategy.instrument, strategy.session, bar_size(strategy.bar_size))


def _times(bars: pd.DataFrame) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(bars.index).as_unit("ns").asi8
