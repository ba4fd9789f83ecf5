"""The trade stage: a session of a strategy from its folder to its end, and what came of it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import UsageError
from mnqcore.stages.audience import Audience
from mnqcore.stages.reports import whole
from mnqcore.stages.signals import signals
from mnqcore.stages.watching import Voice, ignored
from mnqcore.trading.operator import Operator
from mnqcore.trading.session import Watcher

if TYPE_CHECKING:
    from mnqcore.plugins import Plugins
    from mnqcore.runs import Run
    from mnqcore.stages.options import Options
    from mnqcore.stages.prepare import Progress
    from mnqcore.strategy.model import Strategy
    from mnqcore.trading.assemble import Brain, Setup
    from mnqcore.trading.session import Session

SIMULATED = "SIM"
"""The account of a simulated broker where the strategy names none."""


@attrs.frozen(kw_only=True, eq=False)
class Traded:
    """What a session came to. `run`: what was kept, None while another start goes on with the session in `folder`.

    `why`: why it ended or stopped. `state`: its state then. `status`: how it stood at last (`mnq.status/1`).
    `report`: what all of it came to, over all starts.
    """

    folder: Path
    why: str
    state: str
    run: Run | None = None
    status: dict[str, Any] = attrs.field(factory=dict)
    report: dict[str, Any] = attrs.field(factory=dict)

    @property
    def held(self) -> dict[str, int]:
        """Contract -> signed contracts that are still held."""
        return {one["contract"]: one["contracts"] for one in self.status.get("positions", [])}


def trade(
    strategy: Strategy,
    plugins: Plugins,
    base: Path,
    options: Options,
    progress: Progress = lambda _part: None,
    watcher: Watcher | None = None,
    *,
    confirmed: bool = False,
) -> Traded:
    """Run a session until it ends or is stopped; a session that was stopped or killed goes on.

    `watcher` is told how it goes, beside alerts, status file and observers. `confirmed`: a person has typed which
    account may lose how much; live does not begin without.

    Raises:
        UsageError: the strategy cannot trade in this mode, or another session of it runs.
        BrokerError: the broker cannot be reached, or is not the one expected.
        DataError, PluginError: bars, model or a plugin are not sound.
    """
    from mnqcore.trading.assemble import open_journal

    setup = _setup(strategy, plugins, base, options, progress)
    if setup.mode == "live" and not confirmed:
        raise UsageError("live begins where a person confirms it", next="mnq run FILE --stage trade --mode live")
    voice = Voice(setup.strategy, setup.account, setup.folder)
    progress("trading")
    journal = open_journal(setup)
    try:
        if ended := journal.last("end"):
            return _kept_at_last(setup, journal, ended.data["why"], base)
        return asyncio.run(_run(setup, journal, Audience(plugins, voice, watcher or Watcher()), base))
    finally:
        voice.close()
        journal.close()


async def _run(setup: Setup, journal: Any, audience: Audience, base: Path) -> Traded:
    from mnqcore.trading.assemble import assemble
    from mnqcore.trading.places import keep_access

    keep_access(setup, journal.header.session)
    session = await assemble(setup, journal, audience.watcher)
    board, reports = audience.begin(setup, session)
    session.commands = operator = Operator(setup.folder)
    try:
        with signals(session, operator):
            await session.run()
        session.desk.memory.now = session.now()
        if session.ended:
            ignored(lambda: reports.report(session))
            session.desk.memory.note("end", why=session.ended)
        session.desk.memory.commit()
        if journal.broken:  # what is not written is not over: the next start goes on from what is
            session.stopping, session.ended = "the journal cannot be written", ""
    finally:
        board.write(session)
        await _leave(session)
    status, report = board.document(session), whole(journal)
    if session.ended:
        audience.voice.close()  # what it wrote is kept, too
    run = _keep(setup, session, base) if session.ended else None
    return Traded(
        folder=setup.folder,
        why=session.ended or session.stopping,
        state=session.desk.memory.state.value,
        run=run,
        status=status,
        report=report,
    )


async def _leave(session: Session) -> None:
    """Hang up; a broker that lives for the session alone ends with it."""
    finish = getattr(session.broker, "finish", None)
    if session.ended and finish is not None:
        await finish()
    else:
        await session.broker.close()


def _setup(strategy: Strategy, plugins: Plugins, base: Path, options: Options, progress: Progress) -> Setup:
    from mnqcore.runs import versions
    from mnqcore.stages.prepare import read_feeds
    from mnqcore.strategy.arming import live_complaints, tightened, unprotected
    from mnqcore.trading.assemble import Setup

    mode = options.mode or strategy.trade.mode
    if mode == "live" and (complaints := live_complaints(strategy, plugins.files, options.mode)):
        raise UsageError("this strategy may not trade money", found="; ".join(complaints))
    if complaint := unprotected(strategy, mode):
        raise UsageError(complaint, next="take bracket fixed or atr")
    strategy = tightened(strategy, options.max_position, options.max_daily_loss)
    tape, brain, start = _mind(strategy, plugins, base, options, progress, mode)
    strategy = _starting(strategy, start)
    account = strategy.trade.account or SIMULATED
    folder = base / strategy.name / f".session-{mode}-{account}"
    files = _write(folder, strategy, plugins)
    return Setup(
        strategy=strategy,
        mode=mode,
        account=account,
        folder=folder.resolve(),
        plugins=[*files, *plugins.switched_off],
        brain=brain,
        tape=tape,
        versions=versions(),
        feeds=read_feeds(strategy) if tape is None else tape.market.feeds,
    )


def _mind(
    strategy: Strategy, plugins: Plugins, base: Path, options: Options, progress: Progress, mode: str
) -> tuple[Any, Brain, str | None]:
    """Return the tape of a replay, what chooses, and the bar from which it may."""
    from mnqcore.stages.learning import SEEN
    from mnqcore.stages.prepare import prepare
    from mnqcore.trading.assemble import Brain

    chosen = brain(strategy, plugins, base, options.model) if strategy.learns else None
    tape = prepare(strategy, progress, cache=base / SEEN).tape if mode == "replay" else None
    return (tape, Brain(), None) if chosen is None else (tape, *chosen)


def brain(
    strategy: Strategy, plugins: Plugins, base: Path, name: str | Path | None, sha256: str | None = None
) -> tuple[Brain, str]:
    """Return what chooses for a strategy that learns, and the first bar that its model was not made with.

    `name`: of a run, or its directory. `sha256`: of the model; the run's newest where none is given.

    Raises:
        UsageError: there is no such run or model, or it was trained on something else than the strategy says.
    """
    from mnqcore.agent.runner import decider
    from mnqcore.runs import open_run
    from mnqcore.stages.learning import of_run
    from mnqcore.stages.models import refuse_other
    from mnqcore.trading.assemble import Brain

    if name is None:
        raise UsageError(f"agent '{strategy.agent.use}' must be trained before it can trade", next="--model RUN")
    run = open_run(name, base)
    models = of_run(run, plugins).candidates[0].models
    refuse_other(models, strategy)
    model = next((one for one in reversed(models) if sha256 in (None, one.sha256)), None)
    if model is None:
        found = ", ".join(one.sha256[:8] for one in models)
        raise UsageError(f"{run.name} holds no model of sha {str(sha256)[:8]}", found=found, where=str(run.path))
    decide = decider(model.learner, strategy.lookback)
    made = Brain(
        scaler=model.scaler,
        decide=decide,
        sha256=model.sha256,
        run=run.name,
        remembers=getattr(model.learner, "remembers", False),
    )
    return made, model.facts.test_start


def _starting(strategy: Strategy, start: str | None) -> Strategy:
    """Return a strategy whose broker replays from a bar on, where it can and the file does not say from which."""
    broker = strategy.trade.broker
    if start is None or "start" not in broker.params or broker.params["start"] is not None:
        return strategy
    moved = attrs.evolve(broker, params={**broker.params, "start": start})
    return attrs.evolve(strategy, trade=attrs.evolve(strategy.trade, broker=moved))


def _write(folder: Path, strategy: Strategy, plugins: Plugins) -> list[str]:
    """Write the strategy and copies of `-p` files into the session's folder; returns the copies."""
    (folder / "plugins").mkdir(parents=True, exist_ok=True)
    (folder / "resolved.toml").write_text(strategy.to_toml(), encoding="utf-8", newline="\n")
    copies = []
    for file in plugins.files:
        copy = folder / "plugins" / Path(file).name
        shutil.copyfile(file, copy)
        copies.append(str(copy.resolve()))
    return copies


def _keep(setup: Setup, session: Session, base: Path) -> Run:
    from mnqcore.stages.traded import keep

    return keep(setup, session.desk.memory, session.ended, base)


def _kept_at_last(setup: Setup, journal: Any, why: str, base: Path) -> Traded:
    """Make the run of a session that was over when its process was killed: nothing is asked of its broker any more."""
    from mnqcore.stages.traded import keep, last_state
    from mnqcore.trading.assemble import remembered

    state = last_state(journal)
    run = keep(setup, remembered(setup, journal), why, base, again=True)
    return Traded(folder=setup.folder, why=why, state=state, run=run)
