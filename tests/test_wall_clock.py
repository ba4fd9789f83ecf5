"""A session by the wall clock, with a source that streams and a broker that only executes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnqcore.trading.journal import Journal

STRATEGY = """
format = 1
[instrument.NIGHT]
tick_size = 0.25
tick_value = 0.5
margin = 100.0
calendar = "24/7"
timezone = "UTC"
day_start = "00:00"
[strategy.tick]
instrument = "NIGHT"
bar_size = "1 sec"
session = { flat_by_close = false }
data = { use = "ticker", count = COUNT }
agent = { use = "every-other" }
bracket = { use = "fixed", stop_ticks = 400 }
trade.broker = { use = "at-once", book = "BOOK" }
trade.account = "A1"
trade.on_exit = "EXIT"
trade.limits = { price_collar = 0.2 }
"""
RUN = """
import sys
from pathlib import Path
from mnqcore.plugins import load as load_plugins
from mnqcore.stages.options import Options
from mnqcore.stages.trade import trade
from mnqcore.strategy import load
plugins = load_plugins([sys.argv[2]])
traded = trade(load(sys.argv[1], None, plugins), plugins, Path(sys.argv[3]), Options(mode="paper"))
print(traded.why, "|", traded.state, "|", traded.run.path if traded.run else "")
"""


def start(folder, count, on_exit="leave", account="A1"):
    text = STRATEGY.replace("COUNT", str(count)).replace("EXIT", on_exit).replace("BOOK", str(folder / "book.json"))
    text = text.replace('"A1"', f'"{account}"')
    (folder / "s.toml").write_text(text)
    plugin = Path(__file__).with_name("wall_clock.py")
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder / "s.toml"), str(plugin), str(folder / "runs")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def book(folder):
    return json.loads((folder / "book.json").read_text())


def journal_of(path):
    with Journal.read(path / "journal.sqlite") as journal:
        return [(event.kind, event.data) for event in journal.events()]


def held_with_stop(found):
    """Whether stops at work cover what the broker holds."""
    stops = [one for one in found["orders"].values() if one["role"] == "stop" and one["status"] == "working"]
    return sum(one["contracts"] for one in stops) >= abs(found["position"])


def test_bars_by_the_wall_clock_are_decided_on_once_each_and_the_position_is_the_brokers(tmp_path):
    process = start(tmp_path, 9)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    why, state, path = (part.strip() for part in out.split("|"))
    assert (why, state) == ("the bars ended", "ACTIVE")

    events = journal_of(Path(path))
    bars = [data["time"] for kind, data in events if kind == "bar" and "final" not in data]
    assert bars == [bars[0] + number * 1_000_000_000 for number in range(9)]
    decided = [data["bar"] for kind, data in events if kind == "decision"]
    assert decided == bars
    odd = [data["verdict"] for kind, data in events if kind == "odd-bar"]
    assert set(odd) <= {"forming"}
    assert odd
    found = book(tmp_path)
    entries = [one for one in found["orders"].values() if one["role"] == "entry"]
    assert 1 <= len(entries) <= 3
    assert held_with_stop(found)
    # $0.70 was charged where $0.62 was reckoned: the books follow the broker.
    ledger = [data["ledger"] for kind, data in events if kind == "bar"][-1]
    prices = sum(-one["side"] * one["contracts"] * one["price"] for one in found["executions"]) * 500_000
    if found["position"] == 0:
        assert ledger["cash"] == 10_000_000_000 + prices - 700_000 * len(found["executions"])


def wait_for(folder, condition, seconds=30.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (folder / "book.json").exists() and condition(book(folder)):
            return book(folder)
        time.sleep(0.01)
    raise AssertionError("it never came to that")


@pytest.mark.parametrize("on_exit", ["leave", "flatten"])
def test_ctrl_c_leaves_a_protected_position_or_none(on_exit, tmp_path):
    process = start(tmp_path, 60, on_exit)
    wait_for(tmp_path, lambda found: found["position"] == 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err

    found = book(tmp_path)
    if on_exit == "flatten":
        assert found["position"] == 0
        assert not [one for one in found["orders"].values() if one["status"] == "working"]
    else:
        assert found["position"] == 1
        assert held_with_stop(found)


def test_after_a_kill_the_next_start_finds_what_is_held_and_goes_on(tmp_path):
    process = start(tmp_path, 12)
    wait_for(tmp_path, lambda found: found["position"] == 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert held_with_stop(book(tmp_path))

    process = start(tmp_path, 12)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    path = Path(out.split("|")[2].strip())
    events = journal_of(path)
    assert [data["restart"] for kind, data in events if kind == "start"] == [0, 1]
    states = [data["state"] for kind, data in events if kind == "state"]
    assert "HALTED" not in states
    filled = [data["execution"] for kind, data in events if kind == "event" and data["type"] == "Filled"]
    assert sum(one["side"] * one["contracts"] for one in filled) == book(tmp_path)["position"]
    assert len({one["id"] for one in filled}) == len(filled) == len(book(tmp_path)["executions"])


def test_a_broker_that_answers_for_another_account_ends_the_session_before_an_order(tmp_path):
    process = start(tmp_path, 12, account="B2")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "BrokerError: the broker answers for another account" in err
    assert "A1, where B2 was asked for" in err
    assert book(tmp_path) == {"orders": {}, "executions": [], "position": 0}
    (path,) = (tmp_path / "runs").rglob("journal.sqlite")
    assert {kind for kind, _ in journal_of(path.parent)}.isdisjoint({"intent", "event", "decision"})
