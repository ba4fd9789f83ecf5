"""Sessions of a small strategy on the simulated broker, run in this process or in one that can be killed."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnqcore.plugins import load as load_plugins
from mnqcore.stages.options import Options
from mnqcore.stages.parity import parity
from mnqcore.stages.trade import trade
from mnqcore.strategy import load
from mnqcore.trading.journal import FILE, Entry, Journal

STRATEGY = """
format = 1
[defaults]
data = { use = "synthetic", market = "no-edge", days = 7, missing = 0.002 }
costs = { initial_balance = 25_000.0, commission = 0.62, slippage_ticks = 1 }
bracket = { use = "fixed", stop_ticks = 120, target_ticks = 200 }
risk = { max_position = 1, max_daily_loss = 500.0 }
features.moves = { use = "returns", horizons = [1, 3, 12] }

[strategy.cross]
agent = { use = "sma-cross", fast = 5, slow = 20 }

[strategy.sized]
agent = { use = "breakout", bars = 60 }
bracket = { use = "atr", period = 14, stop = 3.0, target = 6.0, min_ticks = 40, max_ticks = 400 }
sizer = { use = "fixed-fractional", risk = 0.01 }
risk = { max_position = 4, max_daily_loss = 2_000.0, cooldown_bars = 6 }
"""
BUSY = ("trade.limits.orders_per_day=5000", "trade.limits.orders_per_minute=120")
"""Settings under which no rule that trades often is halted."""


def strategy_file(folder, text=STRATEGY):
    """Write the strategies into a folder; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "strategies.toml"
    file.write_text(text)
    return file


def session(folder, name="cross", *settings, mode="replay", plugins=(), text=STRATEGY, **options):
    """Run a session in this process; return what came of it."""
    loaded = load_plugins(plugins)
    strategy = load(strategy_file(folder, text), name, loaded, list(settings))
    return trade(strategy, loaded, folder / "runs", Options(mode=mode, **options))


def proven(place, plugins=(), model=None):
    """Return the parity of a run or of a session's folder."""
    path = Path(getattr(place, "path", place))
    return parity(path / FILE, path.parent.parent, plugins, model)


def counts(found):
    """Return row -> how many of its rows differ."""
    return {row.name: row.differ for row in found.rows}


def rewritten(run, folder, change):
    """Copy a run; its journal is written anew with the (kind, data) that `change` makes of a list of them."""
    place = folder / "rewritten" / run.path.name
    shutil.copytree(run.path, place, ignore=shutil.ignore_patterns(FILE))
    with Journal.read(run.path / FILE) as old:
        events = list(old.events())
        pairs = change([(event.kind, event.data) for event in events])
        new = Journal.create(place / FILE, old.header)
    times = [event.time for event in events]
    with new:
        new._db.execute("PRAGMA synchronous = OFF")  # nobody cuts the power of a test
        begin = 0
        for at in range(1, len(pairs) + 1):  # events of one time are one piece, as a session writes them
            time_of = times[min(begin, len(times) - 1)]
            if at == len(pairs) or times[min(at, len(times) - 1)] != time_of:
                new.write(*(Entry(kind, data) for kind, data in pairs[begin:at]), now=time_of)
                begin = at
    return place


def command(*arguments):
    """The command line in a process of its own."""
    return [sys.executable, "-m", "mnqcore", *map(str, arguments)]


def started(folder, name, *settings, mode="replay", model=None):
    """Start a session in a process of its own."""
    told = [word for setting in settings for word in ("--set", setting)]
    told += ["--model", model] if model else []
    words = ("run", strategy_file(folder), "-s", name, "--stage", "trade", "--mode", mode, *told)
    return subprocess.Popen(
        command(*words, "--runs-dir", folder / "runs", "-q"), cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_at(process, journal, bars, patience=600.0):
    """Kill a session without a word once its journal holds so many bars; returns how many it held then.

    Not between the writing of an order and its leaving: such an order is never sent, as the crash matrix proves, and
    then the session is not the one that nobody killed.
    """
    until = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < until:
        if bars_in(journal) >= bars:
            os.kill(process.pid, signal.SIGSTOP)
            if not leaving(journal):
                found = bars_in(journal)
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                return found
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.02)
    process.kill()
    _, told = process.communicate()
    raise AssertionError(f"the session never came to bar {bars}: {told}")


def leaving(journal):
    """Return the refs of a journal's orders that are meant and not yet known to be sent.

    Looked for in a copy, which is recovered: a writer that stands still while the disk takes its piece has not shown it
    to other readers yet, but whoever opens the journal after its death finds it.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, journal.name)
        for tail in ("", "-wal"):
            shutil.copyfile(f"{journal}{tail}", f"{copy}{tail}")
        with contextlib.closing(sqlite3.connect(copy)) as db:
            query = "SELECT kind, data FROM events WHERE kind IN ('intent', 'sent') ORDER BY seq"
            events = db.execute(query).fetchall()
    meant = {json.loads(data)["ref"] for kind, data in events if kind == "intent"}
    return meant.difference(*(json.loads(data)["refs"] for kind, data in events if kind == "sent"))


def bars_in(journal):
    """Return how many bars a journal holds, 0 while there is none."""
    if not journal.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
            newest = db.execute("SELECT data FROM events WHERE kind = 'bar' ORDER BY seq DESC LIMIT 1").fetchone()
            return json.loads(newest[0]).get("number", -1) + 1 if newest else 0
    except sqlite3.Error:
        return 0


def newest_run(folder, name):
    """Return the directory of a strategy's newest run."""
    return max((folder / "runs" / name).glob("2*"))
