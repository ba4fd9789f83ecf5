"""Sessions in processes that die at a named point: a light program that forks them, and who asks it to.

    python -m tests.mortal

reads a job a line, runs it in a process of its own, and answers with a line. Points are laid over the real objects, in
the forked process alone. Its venue is forked as well, from what is loaded already; it goes on when the session dies,
and notes each moment at which it holds a position that no working stop covers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import attrs

HEAVY = ("gymnasium", "stable_baselines3", "torch")
"""What no session of a rule may load."""
STRATEGY = """
format = 1
[strategy.mortal]
data = { use = "synthetic", market = "no-edge", days = 2, missing = 0.0, holes = 0.0 }
agent = { use = "sma-cross", fast = 2, slow = 5 }
bracket = { use = "fixed", stop_ticks = 100, target_ticks = 120 }
sizer = { use = "fixed", contracts = 2 }
risk.max_position = 2
costs = { initial_balance = 25_000.0, commission = 0.62, slippage_ticks = 1 }

[strategy.mortal.trade]
limits = { quiet_seconds = 0.2 }

[strategy.mortal.trade.broker]
use = "simulated"
end = "2024-01-02T03:25:00"
faults = ["bar 11: partial 1", "bar 28: partial 1", "bar 44: partial 1"]
"""
"""Crosses every few bars, each with two contracts: some leave by target, by stop, by signal, one is held at the end."""
DIED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 1
"""How a job ends that was killed."""


# Who asks.


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a job: `code` as a process ends; `seen` is point -> how often it was passed."""

    code: int
    why: str = ""
    state: str = ""
    error: str = ""
    trades: list[dict[str, int]] = attrs.field(factory=list)
    run: str = ""
    alerts: list[str] = attrs.field(factory=list)
    seen: dict[str, int] = attrs.field(factory=dict)
    loaded: list[str] = attrs.field(factory=list)
    events: list[Any] = attrs.field(factory=list)

    @property
    def died(self) -> bool:
        """Whether it was killed."""
        return self.code == DIED


class Maker:
    """Runs jobs in the light program."""

    def __init__(self, *before, **environ):
        command = [*before, sys.executable, "-m", "tests.mortal"]
        root = Path(__file__).parents[1]
        self.process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environ})  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.asked, self.told = self.process.stdin, self.process.stdout

    def start(self, folder, strategy, **job):
        """Begin a job; `end` waits for it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "outcome.json").unlink(missing_ok=True)
        (folder / "s.toml").write_text(strategy)
        self.asked.write(json.dumps({"folder": str(folder), **job}) + "\n")
        self.asked.flush()

    def end(self, folder):
        """Return what became of the job that was begun."""
        code = json.loads(self.told.readline())["code"]
        file = folder / "outcome.json"
        return Outcome(code=code, **(json.loads(file.read_text()) if file.exists() else {}))

    def run(self, folder, strategy, **job):
        """Run a session of a strategy in a folder.

        `die`: [point, n] at whose n-th time it is killed; `doom`: the same of its venue; `freeze`: that stops for some
        seconds; `full`: no journal grows any more; `deaf`: the broker's stream of events fails; `stop`: it is stopped,
        and waits to be woken. `refuse`: submissions of these
        numbers fail with nothing sent. `sets`: values set over the file. `mode`: of the session.
        """
        self.start(folder, strategy, **job)
        return self.end(folder)

    def close(self):
        """End it."""
        self.asked.close()
        self.process.wait(60)
        self.told.close()


def faults(*lines):
    """Return the setting that lets these go wrong, and nothing else."""
    return f"trade.broker.faults={json.dumps(lines)}"


def journal_of(outcome, *kinds):
    """Return the data of the events of a session that ended, of some kinds."""
    from mnqcore.trading.journal import FILE, Journal

    with Journal.read(Path(outcome.run) / FILE) as journal:
        return [event.data for event in journal.events(kinds)]


@contextlib.contextmanager
def room():
    """Make a folder that goes away, with the venue in it; in memory where there is room: no cable is cut here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="mnq-", dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            for port in folder.glob("runs/*/.session-*/venue/port.json"):
                end_venue(port.parents[1])


def session_of(folder, mode="replay", account="SIM"):
    """Return the folder of the session of a job."""
    return folder / "runs" / "mortal" / f".session-{mode}-{account}"


def ask_venue(session, *questions):
    """Ask the venue of a session as another client would, and hang up; returns its answers."""
    found = json.loads((session / "venue" / "port.json").read_text())
    until = time.monotonic() + 5
    while True:
        with socket.create_connection(("127.0.0.1", found["port"]), timeout=5) as link, link.makefile("rwb") as wire:
            wire.write(json.dumps({"token": found["token"], "account": "SIM"}).encode() + b"\n")
            wire.flush()
            greeting = json.loads(wire.readline() or '{"refused": "hung up"}')
            if "refused" not in greeting:
                return [_answer(wire, number, question) for number, question in enumerate(questions)]
        assert time.monotonic() < until, greeting  # the venue has yet to notice that its client is gone
        time.sleep(0.01)


def _answer(wire, number, question):
    wire.write(json.dumps({"id": number, "do": question}).encode() + b"\n")
    wire.flush()
    while "id" not in (said := json.loads(wire.readline())):
        pass  # an event, or the time
    return said["ok"]


def end_venue(session):
    """Kill the venue of a session, if it is still there."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(json.loads((session / "venue" / "port.json").read_text())["pid"], signal.SIGKILL)


def naked(folder):
    """Return the moments at which the venue held what no working stop covered."""
    file = folder / "naked.txt"
    return file.read_text().splitlines() if file.exists() else []


# The light program.


class Points:
    """Counts how often each point is passed, and dies at one, or lets the venue die."""

    def __init__(self, acts):
        self.acts = acts
        self.seen: dict[str, int] = {}

    def reach(self, name):
        """Pass a point."""
        self.seen[name] = self.seen.get(name, 0) + 1
        for act in self.acts.get((name, self.seen[name]), ()):
            act()


def die():
    """Be killed here."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def fill_disk():
    """Let no journal grow any more."""
    from mnqcore.trading.journal import Journal

    plain = Journal.write

    def write(self, *entries, now):
        self._db.execute("PRAGMA max_page_count=1")  # as many as there are
        return plain(self, *entries, now=now)

    setattr(Journal, "write", write)  # noqa: B010 - mypy minds the other way
    setattr(Journal, "retry", lambda self: False)  # noqa: B010


def fail_events():
    """Let the broker's stream of events break, with the next one."""
    from mnqplugins.brokers._client import Client

    def heard(self, event):
        self._events.put_nowait(Broken())

    setattr(Client, "heard", heard)  # noqa: B010 - as above


class Broken:
    """An event that no desk can take in."""


def lay_points(points, folder):
    """Lay the points over the objects that a session is made of."""
    from mnqcore.runs import Draft
    from mnqcore.stages import trade, traded
    from mnqcore.trading.books import Books
    from mnqcore.trading.desk import Desk
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.session import Session
    from mnqplugins.brokers._link import Link

    reach = points.reach
    _lay_journal(Journal, reach, folder)
    _around(Session, "_bar", reach, before="bar-heard")
    _around(Session, "ask", reach, before="reconcile-begun", after="reconcile-done")
    _around(trade, "_leave", reach, before="leave-begun", after="leave-done")
    _around(Books, "close", reach, after="bar-booked")
    _around(traded, "keep", reach, before="keep-begun", after="keep-done")
    _around(Draft, "keep", reach, before="run-begun", after="run-made")
    _lay_events(Desk, reach)
    _lay_link(Link, reach)


def _around(owner, name, reach, before="", after=""):
    plain = getattr(owner, name)

    def passed(point):
        if point:
            reach(point)

    async def awaited(*arguments, **named):
        passed(before)
        found = await plain(*arguments, **named)
        passed(after)
        return found

    def called(*arguments, **named):
        passed(before)
        found = plain(*arguments, **named)
        passed(after)
        return found

    setattr(owner, name, awaited if asyncio.iscoroutinefunction(plain) else called)


def _lay_journal(journal, reach, folder):
    plain = journal.write

    def write(self, *entries, now):
        if not entries:
            return plain(self, now=now)
        reach("before-commit")
        self._db.set_trace_callback(lambda sql: reach("within-commit") if sql == "COMMIT" else None)
        found = plain(self, *entries, now=now)
        log = self.path.with_name(f"{self.path.name}-wal")
        (folder / "synced").write_text(str(log.stat().st_size))
        kinds = {entry.kind for entry in entries}
        names = {"intent": "committed", "bar": "bar-committed", "cancel": "cancel-committed", "start": "start-noted",
                 "end": "end-noted", "anchor": "anchor-noted", "sent": "sent-noted"}  # fmt: skip
        for kind in sorted(kinds & set(names)):
            reach(names[kind])
        heard = {entry.data["type"] for entry in entries if entry.kind == "event"}
        for kind in sorted(heard):
            reach(f"{kind.lower()}-committed")
        return found

    journal.write = write


def _lay_events(desk, reach):
    plain = desk.event

    def event(self, event, now, mono):
        kind = type(event).__name__.lower()
        reach(f"{kind}-heard")
        found = plain(self, event, now, mono)
        reach(f"{kind}-taken")
        return found

    desk.event = event


def _lay_link(link, reach):
    plain = link.ask

    async def ask(self, do, **fields):
        if do not in ("submit", "cancel"):
            return await plain(self, do, **fields)
        name = "sent" if do == "submit" else "cancel-sent"
        answer = asyncio.ensure_future(plain(self, do, **fields))
        await asyncio.sleep(0)
        while self.alive and self.writer.transport.get_write_buffer_size():
            await asyncio.sleep(0)
        reach(name)
        found = await answer
        reach(f"{name}-answered")
        return found

    link.ask = ask


def lay_refusals(numbers):
    """Let submissions of these numbers fail, with nothing sent."""
    from mnqcore import BrokerError
    from mnqplugins.brokers.simulated import Simulated

    plain, count = Simulated.submit, [0]

    async def submit(self, bracket):
        count[0] += 1
        if count[0] in numbers:
            raise BrokerError("refused by the test")
        await plain(self, bracket)

    setattr(Simulated, "submit", submit)  # noqa: B010 - mypy minds the other way


def watch_venue(folder):
    """Let the venue note each moment at which it holds what no working stop covers."""
    from mnqplugins.brokers._venue import Venue

    plain = Venue._tell

    def tell(self, text):
        exchange = self.replay.exchange
        for held in exchange.account.positions():
            if not _covers([live.state for live in exchange.orders], held):
                with (folder / "naked.txt").open("a") as file:
                    file.write(f"bar {self.script.bar}: {held.contracts:+d} {held.contract}\n")
        plain(self, text)

    setattr(Venue, "_tell", tell)  # noqa: B010 - as above


def _covers(orders, held):
    side = -1 if held.contracts > 0 else 1
    stops = [one for one in orders if one.role is not None and one.role.value == "stop" and one.side == side]
    return sum(one.contracts - one.filled for one in stops if one.status.value == "working") >= abs(held.contracts)


class Forked:
    """Stands for the process of a venue."""

    def poll(self):
        """Say that it runs."""

    def kill(self):
        """Leave it alone."""


def fork_venues(folder):
    """Let venues be forked from here, by a process that does nothing else, rather than started anew."""
    from mnqplugins.brokers import _start

    ours, theirs = os.pipe(), os.getpid()
    if os.fork() == 0:
        os.setsid()
        os.close(ours[1])
        with os.fdopen(ours[0]) as asked:
            for line in asked:
                if os.fork() == 0:
                    _be_venue(Path(line.rstrip("\n")), folder)
        os._exit(0)
    os.close(ours[0])
    assert os.getpid() == theirs

    def spawn(venue):
        os.write(ours[1], f"{venue.absolute()}\n".encode())
        return Forked()

    _start._spawn = spawn


def _be_venue(venue, folder):
    from mnqplugins.brokers import _server

    log = os.open(venue / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    watch_venue(folder)
    sys.argv = ["venue", str(venue)]
    try:
        _server.main()
    finally:
        os._exit(0)


def _acts(job, folder):
    """Return (point, number) -> what happens there."""
    place = session_of(folder, job.get("mode", "replay"))
    known = {
        "die": die,
        "doom": lambda: end_venue(place),
        "full": fill_disk,
        "deaf": fail_events,
        "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        "freeze": lambda: freeze(place),
    }
    return {tuple(job[name]): (act,) for name, act in known.items() if job.get(name)}


def freeze(place, seconds=2.5):
    """Stop the venue, and let it go on some seconds later."""
    pid = json.loads((place / "venue" / "port.json").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (pid, signal.SIGCONT)).start()


def session(job, plugins):
    """Run the session of a job in this process; returns how it ends."""
    from mnqcore import MnqError
    from mnqcore.stages.options import Options
    from mnqcore.stages.trade import trade
    from mnqcore.strategy import load
    from mnqcore.trading.session import Watcher

    folder = Path(job["folder"])
    points = Points(_acts(job, folder))
    (folder / "pid").write_text(str(os.getpid()))
    alerts = []

    class Told(Watcher):
        def alert(self, level, message):
            alerts.append(f"{level}: {message}")

    fork_venues(folder)
    lay_points(points, folder)
    lay_refusals(job.get("refuse", []))
    found: dict[str, Any] = {}
    code = 0
    try:
        strategy = load(folder / "s.toml", "mortal", plugins, job.get("sets", []))
        came = trade(strategy, plugins, folder / "runs", Options(mode=job.get("mode", "replay")), watcher=Told())
        found = {"why": came.why, "state": came.state}
        if came.run is not None:
            found |= {"run": str(came.run.path), "trades": came.run.trades.to_dict("records")}
    except MnqError as error:
        found, code = {"error": str(error)}, error.exit_code
    found |= {"alerts": alerts, "seen": points.seen, "loaded": [name for name in HEAVY if name in sys.modules]}
    (folder / "outcome.json").write_text(json.dumps(found, default=str))
    return code


def warm(plugins):
    """Run a session here, so that those to come find everything loaded and compiled."""
    from mnqcore.stages.options import Options
    from mnqcore.stages.trade import trade
    from mnqcore.strategy import load

    with room() as folder:
        (folder / "s.toml").write_text(STRATEGY)
        fork_venues(folder)
        trade(load(folder / "s.toml", "mortal", plugins, []), plugins, folder / "runs", Options(mode="replay"))


def main():
    """Do jobs until there are none."""
    import mnqcore.stages.trade
    import mnqcore.stages.traded  # noqa: F401 - loaded once, for all
    from mnqcore.plugins import load

    plugins = load()
    warm(plugins)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = session(json.loads(line), plugins)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                raise
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "pid": child}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
