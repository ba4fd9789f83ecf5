"""The trade stage: a session of a strategy from its folder to its end, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import UsageError
from mnqcore.stages.watching import Observers, Sitting, Voice, Watchers, ignored
from mnqcore.trading.operator import Operator
from mnqcore.trading.session import Watcher
from mnqcore.trading.status import Board

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """

    folder: Path
    why: str
    state: str
    run: Run | None = None
    status: dict[str, Any] = attrs.field(factory=dict)

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
        return asyncio.run(_run(setup, journal, _Audience(plugins, voice, watcher or Watcher()), base))
    finally:
        voice.close()
        journal.close()


@attrs.frozen
class _Audience:
    """Who is told of a session: the observers of plugins, alerts, and whoever called."""

    plugins: Plugins
    voice: Voice
    watcher: Watcher

    def begin(self, setup: Setup, session: Session) -> Board:
        """Let a session tell all of them; returns what knows how it stands."""
        strategy = setup.strategy
        sitting = Sitting(
            strategy=strategy.name,
            digest=strategy.digest(),
            name=f"{strategy.name}/{setup.folder.name}",
            folder=setup.folder,
            mode=setup.mode,
            account=setup.account,
        )
        board = Board(folder=setup.folder)
        session.watcher = Watchers([board, self.voice, Observers(self.plugins, sitting, session), self.watcher])
        ignored(lambda: self.plugins.run_started(sitting))
        self.voice.start()
        return board


async def _run(setup: Setup, journal: Any, audience: _Audience, base: Path) -> Traded:
    from mnqcore.trading.assemble import assemble

    session = await assemble(setup, journal, audience.watcher)
    board = audience.begin(setup, session)
    session.commands = operator = Operator(setup.folder)
    try:
        with _signals(session, operator):
            await session.run()
        session.desk.memory.now = session.now()
        if session.ended:
            session.desk.memory.note("end", why=session.ended)
        session.desk.memory.commit()
    finally:
        board.write(session)
        await _leave(session)
    status = board.document(session)
    run = _keep(setup, session, base) if session.ended else None
    return Traded(
        folder=setup.folder,
        why=session.ended or session.stopping,
        state=session.desk.memory.state.value,
        run=run,
        status=status,
    )


async def _leave(session: Session) -> None:
    """Hang up; a broker that lives for the session alone ends with it."""
    finish = getattr(session.broker, "finish", None)
    if session.ended and finish is not None:
        await finish()
    else:
        await session.broker.close()


@contextlib.contextmanager
def _signals(session: Session, operator: Operator) -> Iterator[None]:
    """End the session by Ctrl-C, Ctrl-Break or SIGTERM as `trade.on_exit` says; at once by the second.

    SIGUSR1 halts it.
    """
    if threading.current_thread() is not threading.main_thread():  # only there signals can be heard
        yield
        return
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGUSR1") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}

    def heard(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        call = operator.halt if name == "SIGUSR1" else functools.partial(_stop, session)
        loop.call_soon_threadsafe(call, name)

    for name in names:
        signal.signal(getattr(signal, name), heard)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _stop(session: Session, name: str) -> None:
    """Stop once; what is held is left with its stop, or closed first, as the strategy says."""
    if session.stopping:
        session.leave_now()
        return
    session.desk.memory.note(
        "operator", command="stop", args={"signal": name}, answer=session.desk.strategy.trade.on_exit
    )
    session.stop(name)
    if session.desk.strategy.trade.on_exit == "flatten":
        session.flatten(name)


def _setup(strategy: Strategy, plugins: Plugins, base: Path, options: Options, progress: Progress) -> Setup:
    from mnqcore.runs import versions
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
    )


def _mind(
    strategy: Strategy, plugins: Plugins, base: Path, options: Options, progress: Progress, mode: str
) -> tuple[Any, Brain, str | None]:
    """Return the tape of a replay, what chooses, and the bar from which it may."""
    from mnqcore.stages.learning import SEEN
    from mnqcore.stages.prepare import prepare
    from mnqcore.trading.assemble import Brain

    model = _model(strategy, plugins, base, options) if strategy.learns else None
    tape = prepare(strategy, progress, cache=base / SEEN).tape if mode == "replay" else None
    if model is None:
        return tape, Brain(), None
    from mnqcore.agent.runner import decider

    brain = Brain(scaler=model.scaler, decide=decider(model.learner, strategy.lookback), sha256=model.sha256)
    return tape, brain, model.facts.test_start


def _model(strategy: Strategy, plugins: Plugins, base: Path, options: Options) -> Any:
    from mnqcore.runs import open_run
    from mnqcore.stages.learning import of_run
    from mnqcore.stages.models import refuse_other

    if options.model is None:
        raise UsageError(f"agent '{strategy.agent.use}' must be trained before it can trade", next="--model RUN")
    models = of_run(open_run(options.model, base), plugins).candidates[0].models
    refuse_other(models, strategy)
    return models[-1]


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
