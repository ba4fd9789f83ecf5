"""Sessions from the command line, and `mnq trade` beside them: with processes as they are, alive, killed and hung."""

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import mnqcore
from mnqcore import MnqError, Options
from mnqcore.cli import main
from mnqcore.cli.session import exit_code
from mnqcore.errors import UsageError
from mnqcore.plugins import load
from mnqcore.stages.sessions import sit
from mnqcore.stages.trade import Traded
from mnqcore.strategy import load as load_strategy
from mnqcore.trading.journal import FILE, Journal
from tests.sittings import FOLDER, STRATEGY, Sitting
from tests.venues import kill_venue, venue_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
FAST = "trade.broker.speed=max"


@pytest.fixture
def sitting(tmp_path, monkeypatch):
    """A session that can be started, in the current directory."""
    monkeypatch.chdir(tmp_path)
    made = Sitting(tmp_path)
    yield made
    made.clear()


@pytest.fixture
def mnq(capsys):
    """Run a command in this process, with nobody at a terminal; return its exit code and what it printed."""

    def run(*words):
        code = main([*map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def wanted(kind, **fields):
    """The newest event of a kind in the session's journal that has these values."""
    with Journal.read(Path(FOLDER) / FILE) as journal:
        found = [one.data for one in journal.events((kind,)) if fields.items() <= one.data.items()]
    return found[-1] if found else None


def sound(mnq):
    """Whether the journal keeps its own rules."""
    code, out, _ = mnq("journal", "verify", FOLDER)
    return code == 0, out


# The stage.


def test_a_replay_is_shown_reported_and_kept(sitting, mnq):
    sitting.start(FAST, "data.days=3")

    code, out, err = sitting.end()

    assert code == 0, err
    assert "next     mnq parity runs/quick/" in out
    assert out.splitlines()[1].startswith("SYNTHETIC")
    assert [line[:10] for line in err.splitlines() if line[:4] == "2024"] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert all(len(line) <= 80 for line in (out + err).splitlines())
    (run,) = (sitting.place / "runs" / "quick").iterdir()
    days = [json.loads(path.read_text()) for path in sorted((run / "reports").iterdir())]
    metrics = json.loads((run / "metrics.json").read_text())
    assert sum(day["net"] for day in days) == pytest.approx(metrics["net_profit"])
    assert sum(day["trades"] for day in days) == metrics["trades"]["count"]
    assert sum(day["bars"] for day in days) == metrics["session"]["bars"]
    with Journal.read(run / FILE) as journal:
        assert [one.data["day"] for one in journal.events(("report",))] == [day["day"] for day in days]
    assert not (sitting.place / FOLDER).exists()
    assert mnq("trade", "status")[0] == 2
    code, shown, _ = mnq("runs", "show", run)
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith(("trades   ", "broker", "odd"))] == [
        line for line in shown.splitlines() if line.startswith(("trades   ", "broker", "odd"))
    ][:3]
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert mnq("runs", "show", run, "--by", "hour")[0] == 0
    assert json.loads(mnq("--format", "json", "runs", "show", run)[1])["schema"] == "mnq.session-run/1"
    code, _, err = mnq("runs", "verify", run)
    assert (code, "mnq parity" in err) == (2, True)
    assert mnq("runs", "compare", run, run)[0] == 0


@pytest.mark.proof
def test_json_is_a_line_for_each_look_and_one_for_the_end(sitting):
    sitting.start(FAST, "data.days=3", options=("--format", "json"))

    code, out, _ = sitting.end()

    documents = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {one["schema"] for one in documents[:-1]} == {"mnq.status/1"}
    assert documents[-1]["schema"] == "mnq.session/1"
    assert documents[-1]["exit_code"] == 0
    assert documents[-1]["run"]


def test_python_gets_a_result_of_a_session_that_ended(tmp_path):
    (tmp_path / "s.toml").write_text(STRATEGY)
    changed = {"data.days": 2, "trade.broker.speed": "max"}

    result = mnqcore.run(
        tmp_path / "s.toml", stages="trade", set=changed, runs_dir=tmp_path / "runs", options=Options(mode="replay")
    )

    assert result.run.manifest["stage"] == "trade"
    assert len(result.trades) == result.metrics["trades"]["count"] > 0
    assert len(result.equity) == result.metrics["session"]["bars"]


def test_observers_and_alerts_hear_of_a_session_and_cannot_end_it(tmp_path, caplog):
    (tmp_path / "s.toml").write_text(STRATEGY)
    (tmp_path / "spy.py").write_text(
        "from mnqcore import hookimpl\n"
        "def note(text):\n    with open('heard', 'a') as file:\n        file.write(text + chr(10))\n"
        "@hookimpl\ndef run_started(run):\n    note(f'started {run.mode} {run.account}')\n"
        "@hookimpl\ndef trade_closed(run, trade):\n"
        "    note(f\"trade {trade['entry_time']} {trade['reason']} {trade['net']}\")\n"
        "    raise RuntimeError('mine')\n"
        "@hookimpl\ndef alert(run, level, message):\n    raise SystemExit('no')\n"
        "@hookimpl\ndef run_finished(run, result):\n    note(f'finished {run.name}')\n"
    )
    plugins = load([str(tmp_path / "spy.py")])
    strategy = load_strategy(
        tmp_path / "s.toml", None, plugins,
        ["data.days=2", FAST, "risk.max_daily_loss=60.0", 'trade.alerts.file.use="log"'],
    )  # fmt: skip
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        result = sit(strategy, plugins, tmp_path / "runs", lambda _part: None, Options(mode="replay"))
    finally:
        os.chdir(before)

    heard = (tmp_path / "heard").read_text().splitlines()
    assert heard[0] == "started replay SIM"
    assert heard[-1] == f"finished {result.run.name}"
    trades = [line.split() for line in heard if line.startswith("trade")]
    assert [float(line[-1]) for line in trades] == pytest.approx(result.trades["net"].tolist())
    assert [line[1] for line in trades] == [str(time)[:10] for time in result.trades["entry_time"]]
    named = [record.getMessage() for record in caplog.records if "mine" in record.getMessage()]
    assert len(named) == 1
    assert "trading goes on" in named[0]
    told = [json.loads(line) for line in (result.run.path / "alerts.jsonl").read_text().splitlines()]
    assert result.metrics["session"]["alerts"] >= len(told) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stage", "train,trade"), "trade runs alone"),
        (("--stage", "backtest,trade"), "trade runs alone"),
        (("--stage", "trade", "--model", "x"), "--model"),
        (("--stage", "trade", "--seeds", "2"), "--seeds"),
        (("--stage", "trade", "--in-sample"), "--in-sample"),
        (("--stage", "trade", "--dry-run"), "--dry-run"),
        (("--stage", "trade", "--use-stop-loss", "--set", "bracket.use=none"), "sets no stop"),
        (("--stage", "trade", "--mode", "paper", "--set", "bracket.use=none"), "sets no stop"),
        (("--stage", "trade", "--mode", "replay", "--max-position", "2"), "would loosen"),
        (("--stage", "trade", "--mode", "replay", "--max-daily-loss", "-1"), "--max-daily-loss"),
        (("--stage", "trade", "--mode", "replay", "--max-daily-loss", "nan"), "--max-daily-loss"),
        (("--stage", "trade", "--mode", "live"), "may not trade money"),
        (("--stage", "backtest", "--mode", "replay"), "--mode: nothing is traded"),
        (("--max-position", "1"), "--max-position: nothing is traded"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_begins(sitting, mnq, words, message):
    code, _, err = mnq("run", "s.toml", *words)

    assert code == 2
    assert message in err
    assert not (sitting.place / "runs").exists()


def live(limits):
    """The strategy with money at stake."""
    text = STRATEGY.replace("max_position = 1 }", f"max_position = 1, {limits} }}")
    return text.replace("trade.broker", 'trade.mode = "live"\ntrade.account = "U1234567"\ntrade.broker')


def test_live_is_refused_without_a_terminal_and_from_python(sitting, mnq, monkeypatch):
    (sitting.place / "s.toml").write_text(live("max_daily_loss = 1.0, max_loss = 5.0"))
    monkeypatch.setattr("mnqcore.strategy.arming.live_complaints", lambda *_arguments: [])

    code, _, err = mnq("run", "s.toml", "--stage", "trade", "--mode", "live")

    assert code == 2
    assert "live needs a person at a terminal" in err
    with pytest.raises(UsageError, match="live begins where a person confirms it"):
        mnqcore.run(sitting.place / "s.toml", stages="trade", runs_dir="runs", options=Options(mode="live"))


@pytest.mark.parametrize(("typed", "begins"), [("U1234567 may lose 1,500", True), ("yes", False), ("", False)])
def test_live_begins_once_the_account_and_the_largest_loss_are_typed(sitting, mnq, monkeypatch, typed, begins):
    (sitting.place / "s.toml").write_text(live("max_daily_loss = 500.0, max_loss = 1_500.0"))
    begun = []

    def begin(*_arguments, confirmed, **_more):
        begun.append(confirmed)
        return traded()

    monkeypatch.setattr("mnqcore.stages.trade.trade", begin)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *_a, **_more: typed)
    monkeypatch.setattr("mnqcore.cli.session_report.show", lambda *_a: None)

    code, _, err = mnq("run", "s.toml", "--stage", "trade", "--mode", "live")

    assert begun == ([True] if begins else [])
    assert code == (0 if begins else 2)
    assert "This trades money" in err


def traded(**changed):
    return Traded(**{"folder": None, "why": "SIGINT", "state": "ACTIVE", "status": {"positions": []}} | changed)


HELD = {"positions": [{"contract": "X", "contracts": 1}]}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, 0),
        ({"status": HELD}, 130),
        ({"why": "the bars ended", "run": object()}, 0),
        ({"why": "the bars ended", "run": object(), "status": HELD}, 0),
        ({"why": "the loss limit of the run", "run": object()}, 7),
    ],
)
def test_the_exit_code_says_how_a_session_ended(changed, code):
    assert exit_code(traded(**changed)) == code


@pytest.mark.proof
def test_a_session_that_reached_its_loss_limit_is_exit_7(sitting):
    sitting.start(FAST, "risk.max_loss=60.0")

    code, out, err = sitting.end()

    assert code == 7, err
    assert "ended    the loss limit of the run" in out
    assert "left     FLAT" in out


# Commands beside a session.


def test_status_halt_resume_and_flatten(sitting, mnq):
    sitting.start()
    sitting.until_held()

    code, out, _ = mnq("trade", "status")
    assert code == 0
    assert "PROTECTED  stop" in out
    assert max(map(len, out.splitlines())) <= 80

    code, out, _ = mnq("trade", "halt", "quick", "--why", "coffee")
    assert code == 0
    assert out.startswith("HALTED: nothing is opened any more. ")
    assert wanted("operator", command="halt")["args"]["why"] == "coffee"
    assert "halted already" in mnq("trade", "halt")[1]

    code, out, _ = mnq("trade", "resume")
    assert (code, out) == (0, "ACTIVE: broker and journal agree\n")
    assert "not halted" in mnq("trade", "resume")[1]

    sitting.until_held()
    code, out, err = mnq("trade", "flatten")
    assert code == 0, out + err
    assert "flat; no order of ours is left. FLAT" in " ".join(out.split())
    status = sitting.until(lambda status: not status["positions"] and not status["orders"])
    assert status["state"] == "HALTED"
    code, out, _ = mnq("trade", "flatten", "--format", "json")
    assert json.loads(out)["ok"]

    code, out, err = sitting.end("SIGTERM")
    assert code == 0, err
    assert "left     FLAT" in out
    assert sound(mnq)[0], sound(mnq)
    exits = [one for one in refs("intent") if one["role"] == "exit" and one["reason"] == 1]
    assert len({one["ref"] for one in exits}) == len(exits)


def refs(kind):
    with Journal.read(Path(FOLDER) / FILE) as journal:
        return [one.data for one in journal.events((kind,))]


@pytest.mark.parametrize("by", ["file", "signal"])
def test_a_file_and_a_signal_halt(sitting, mnq, by):
    sitting.start()
    sitting.until(lambda status: status["state"] == "ACTIVE")
    file = sitting.folder / "control" / "HALT"
    if by == "file":
        file.touch()
    else:
        sitting.send("SIGUSR1")

    status = sitting.until(lambda status: status["state"] == "HALTED")

    assert ("HALT is there" if by == "file" else "SIGUSR1") in status["why"]
    code, out, _ = mnq("trade", "resume")
    assert code == (by == "file")
    if by == "file":
        assert "remove it first" in out
        file.unlink()
        assert mnq("trade", "resume")[0] == 0


def test_ctrl_c_leaves_the_protected_position_and_says_so(sitting, mnq):
    sitting.start()
    sitting.until_held()

    code, out, err = sitting.end("SIGINT")

    assert code == 130, out + err
    assert "PROTECTED: stop" in out
    assert "the same command goes on" in out
    code, out, _ = mnq("trade", "status")
    assert code == 0
    assert "its process has ended; simulated says" in out
    sitting.start()
    sitting.until(lambda status: status["state"] == "ACTIVE")
    assert mnq("trade", "flatten")[0] == 0
    assert sitting.end("SIGINT")[0] == 0
    assert sound(mnq)[0]


def test_sigterm_flattens_where_the_strategy_says_so(sitting, mnq):
    sitting.start("trade.on_exit=flatten")
    sitting.until_held()

    code, out, err = sitting.end("SIGTERM")

    assert code == 0, out + err
    assert "left     FLAT" in out
    assert "nothing is held" in mnq("trade", "status")[1]


# Without the session.


def test_a_killed_session_is_flattened_at_the_venue_with_its_strategy_broken(sitting, mnq):
    sitting.start()
    sitting.until_held()
    sitting.end("SIGKILL")
    (sitting.folder / "resolved.toml").write_text("= broken")
    (sitting.place / "s.toml").write_text("= broken")

    code, out, err = mnq("trade", "flatten")
    assert code == 0, out + err
    assert out.endswith("closed. FLAT  nothing to protect\n")
    sent = [one for one in refs("intent") if one["role"] == "exit"]
    assert mnq("trade", "flatten")[0] == 0
    assert [one for one in refs("intent") if one["role"] == "exit"] == sent
    assert sent[-1]["group"] == refs("intent")[-2]["group"] or sent[-1]["group"].endswith(".g")

    (sitting.place / "s.toml").write_text(STRATEGY)
    sitting.start()
    status = sitting.until(lambda status: status["state"] == "HALTED")
    assert status["why"] == "flattened by a person"
    assert (status["positions"], status["difference"]) == ([], [])
    assert mnq("trade", "resume")[0] == 0
    sitting.end("SIGINT")
    assert sound(mnq)[0], sound(mnq)


@pytest.mark.proof
def test_a_session_in_lock_step_is_flattened_though_its_clock_stands(sitting, mnq):
    while True:  # until it is killed while something is held
        sitting.start(FAST, "data.days=60")
        sitting.until_held()
        sitting.end("SIGKILL")
        if "nothing is held" not in mnq("trade", "status")[1]:
            break

    code, out, err = mnq("trade", "flatten")

    assert code == 0, out + err
    assert "closed. FLAT" in out


@pytest.mark.parametrize(
    "how", ["garbage", *(pytest.param(one, marks=pytest.mark.proof) for one in ("empty", "gone", "torn"))]
)
def test_with_a_broken_journal_nothing_is_touched_unless_a_person_says_all(sitting, mnq, how):
    sitting.start()
    sitting.until_held()
    sitting.end("SIGKILL")
    broken(sitting.folder / FILE, how)

    code, out, _ = mnq("trade", "status")
    assert code == 0
    assert "cannot be read" in out
    assert "PROTECTED" in out

    code, out, err = mnq("trade", "flatten")
    assert code == 2, out + err
    assert "nothing of it was touched" in out
    assert "--all closes it too" in err
    assert mnq("trade", "adopt", "--yes")[0] == 2

    code, out, err = mnq("trade", "flatten", "--all")
    assert code == 0, out + err
    assert "closed. FLAT  nothing to protect" in out
    assert "nothing is held, by the broker" in mnq("trade", "status")[1]


def broken(path, how):
    if how == "gone":
        path.unlink()
    elif how == "torn":
        db = sqlite3.connect(path)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode=DELETE")
        db.close()
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(size // 2)
    else:
        path.write_bytes(b"" if how == "empty" else b"garbage" * 999)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


@pytest.mark.proof
def test_a_hung_session_is_named_and_taken_over(sitting, mnq, monkeypatch):
    monkeypatch.setattr("mnqcore.cli.trade._TAKEN", 1.0)
    monkeypatch.setattr("mnqcore.cli.trade_text._STALE", 2.0)
    sitting.start()
    sitting.until_held()
    sitting.send("SIGSTOP")
    time.sleep(0.5)

    code, _, err = mnq("trade", "flatten")
    assert code == 1
    assert f"process {sitting.process.pid}" in err
    assert "--take-over" in err
    time.sleep(2.0)
    code, out, _ = mnq("trade", "status")
    assert code == 1
    assert f"HANGS      process {sitting.process.pid}" in out
    assert mnq("trade", "halt")[0] == 1
    assert (sitting.folder / "control" / "HALT").exists()

    code, out, err = mnq("trade", "flatten", "--take-over")

    assert code == 0, out + err
    assert "FLAT  nothing to protect" in out
    assert sitting.process.wait(5) == -signal.SIGKILL
    assert sound(mnq)[0]


@pytest.mark.proof
def test_a_venue_that_is_gone_is_not_started_again_to_be_asked(sitting, mnq):
    sitting.start()
    sitting.until(lambda status: status["state"] == "ACTIVE")
    sitting.end("SIGKILL")
    at = venue_of(sitting.folder)["port"]
    kill_venue(sitting.folder)
    while True:  # until its port is closed
        try:
            socket.create_connection(("127.0.0.1", at), 1).close()
        except OSError:
            break

    code, _, err = mnq("trade", "status")

    assert code == 6
    assert "the broker of this session is gone" in err


@pytest.mark.proof
def test_halt_of_a_dead_session_waits_for_its_next_start(sitting, mnq):
    sitting.start()
    sitting.until(lambda status: status["state"] == "ACTIVE")
    sitting.end("SIGKILL")

    assert mnq("trade", "halt")[0] == 0
    assert mnq("trade", "resume")[0] == 2
    sitting.start()
    sitting.until(lambda status: status["state"] == "HALTED")
    assert mnq("trade", "resume")[0] == 0


# What differs.


@pytest.mark.proof
def test_adopt_leaves_a_persons_own_alone(sitting, mnq):
    sitting.start('trade.broker.faults=["bar 2: trade +1"]')
    sitting.until(lambda status: status["difference"])

    assert "mnq trade adopt, disown or flatten settles it" in " ".join(mnq("trade", "resume")[1].split())
    assert mnq("trade", "disown", "--yes")[0] == 1
    assert mnq("trade", "adopt")[0] == 2
    code, out, _ = mnq("trade", "adopt", "--yes")
    assert code == 0, out
    assert "left alone from now on: +1 MNQH24" in out
    assert wanted("operator", command="adopt")["foreign"] == {"MNQH24": 1}
    assert mnq("trade", "resume")[0] == 0

    sitting.until_held()
    code, out, _ = mnq("trade", "flatten")
    assert code == 0, out
    assert sitting.until(lambda status: not status["positions"])["foreign"] == {"MNQH24": 1}
    sitting.end("SIGKILL")
    sitting.start()
    assert sitting.until(lambda status: status["state"] == "HALTED")["foreign"] == {"MNQH24": 1}

    code, out, err = mnq("trade", "flatten", "--all")
    assert code == 0, out + err
    assert sitting.until(lambda status: not status["foreign"])["difference"] == []
    assert "nothing is held" in mnq("trade", "flatten")[1]
    sitting.end("SIGINT")
    assert sound(mnq)[0], sound(mnq)


@pytest.mark.proof
def test_flatten_closes_what_is_the_sessions_and_refuses_the_rest(sitting, mnq):
    sitting.start('trade.broker.faults=["bar 9: trade +2"]')
    sitting.until(lambda status: status["difference"])

    code, out, err = mnq("trade", "flatten")

    assert code == 2, out + err
    assert "not touched: +2 MNQH24 is not the session's" in err
    status = sitting.until(lambda status: not status["positions"])
    assert [one["broker"] for one in status["difference"]] == [2]
    assert mnq("trade", "flatten", "--all")[0] == 0
    assert mnq("trade", "resume")[0] == 0


@pytest.mark.proof
@pytest.mark.parametrize("alive", [True, False])
def test_disown_gives_up_what_the_broker_does_not_hold(sitting, mnq, alive):
    sitting.start('trade.broker.faults=["bar 14: liquidate"]')
    sitting.until(lambda status: status["difference"])
    if not alive:
        sitting.end("SIGKILL")

    assert mnq("trade", "adopt", "--yes")[0] != 0
    code, out, err = mnq("trade", "disown", "--yes")
    assert code == 0, out + err
    if not alive:
        sitting.start()
    status = sitting.until(lambda status: not status["positions"] and not status["difference"] and not status["orders"])
    assert status["state"] == "HALTED"
    assert mnq("trade", "resume")[0] == 0
    sitting.until_held()
    sitting.end("SIGINT")
    assert sound(mnq)[0], sound(mnq)


@pytest.mark.proof
def test_two_flattens_at_once_close_once(sitting, mnq):
    sitting.start()
    sitting.until_held()
    sitting.end("SIGKILL")
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(main(["trade", "flatten"]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0 in codes
    assert len([one for one in refs("intent") if one["role"] == "exit" and one["ref"] not in answered()]) <= 1
    assert "nothing is held" in mnq("trade", "status")[1]


def answered():
    """Refs of which the session itself heard."""
    return {one["execution"]["ref"] for one in refs("event") if one["type"] == "Filled"}


def test_a_stopped_session_is_an_error_for_python_that_says_how_to_go_on(tmp_path, monkeypatch):
    import mnqcore.stages.trade as stage

    nothing: Any = None
    found = traded(folder=tmp_path, status={"positions": [], "protection": {"text": "nothing to protect"}})
    monkeypatch.setattr(stage, "trade", lambda *_a, **_more: found)

    with pytest.raises(MnqError, match="stopped before its end") as caught:
        sit(nothing, nothing, tmp_path, lambda _part: None, Options())
    assert "the same call goes on" in caught.value.facts["next"]
