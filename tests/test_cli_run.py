"""`mnq run` as a user meets it: the screen, JSON, exit codes, options, interruption; most of it in real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import tomli

from mnqcore.cli import main

STRATEGIES = """
format = 1
[defaults]
instrument = "MNQ"
bar_size = "5 min"
data = { use = "synthetic", market = "regimes", days = 60 }
costs = { initial_balance = 25_000.0, commission = 0.62, slippage_ticks = 1 }
risk = { max_daily_loss = 500.0, max_loss = 2_500.0 }

[strategy.cross]
agent = { use = "sma-cross", fast = 10, slow = 30 }

[strategy.a-name-that-is-long-enough-to-need-room]
agent = { use = "breakout", bars = 50 }
bracket = { use = "atr", period = 14, stop = 3.0, target = 6.0, min_ticks = 40, max_ticks = 400 }
sizer = { use = "fixed-fractional", risk = 0.01 }
reward = { use = "trade-pnl" }
"""
SMALL = """
format = 1
[strategy.small]
data = { use = "synthetic", days = 3 }
agent = { use = "sma-cross", fast = 3, slow = 8 }
"""
SLOW = """
import sys, time
from mnqcore import hookimpl, plugin

@plugin
class Slow:
    '''Take its time.'''
    warmup = 0
    def signals(self, view):
        print("working", flush=True)
        time.sleep(60)

@hookimpl
def register_agents(register):
    register("slow", Slow)
"""
FORBIDDEN = ("lane", "tape", "latent", "best")


def mnq(*arguments, cwd, **options):
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, check=False, **options)


def command(*arguments):
    return [sys.executable, "-W", "error::RuntimeWarning", "-m", "mnqcore", *map(str, arguments)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with strategy files."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "strategies.toml").write_text(STRATEGIES)
    (folder / "small.toml").write_text(SMALL)
    (folder / "slow.py").write_text(SLOW)
    return folder


@pytest.fixture(scope="module")
def cross(home):
    """The finished process of a run, and its run directory."""
    done = mnq("run", "strategies.toml", "-s", "cross", "--stage", "backtest", cwd=home)
    (made,) = (home / "runs" / "cross").iterdir()
    return done, made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def resolved(folder):
    (file,) = folder.glob("runs/*/*/resolved.toml")
    text = file.read_text()
    (values,) = tomli.loads(text)["strategy"].values()
    return values, text


def no_numbers_but_finite(text):
    raise AssertionError(f"{text} is no JSON")


def test_the_screen_says_what_was_run_and_what_came_out(cross):
    done, made = cross

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for line in (
        "cross    MNQ 5 min   2024-01-02 .. ",
        "SYNTHETIC bars: what follows says nothing about a real market",
        "data     synthetic   sha ",
        "costs    $0.62 a contract a side + 1 tick slippage a fill",
        "         stop fixed (stop_ticks 200);   size fixed (contracts 1)",
        "net profit ",
        "percentile among random: ",
        "Sharpe 95 % interval ",
        "chance to lose $2,500.00 from a peak within a year: ",
        "trades   win ",
        "slippage if 0 / 1 / 2 / 3 ticks: ",
        "checks   accounting exact   no look-ahead seen (5,000 bars)",
        "repeat   mnq 0.1.0, data sha ",
        f"run      runs/cross/{made.name}   ",
        f"next     mnq runs show runs/cross/{made.name} --trades",
    ):
        assert any(found.startswith(line) for found in done.stdout.splitlines()), line


def test_the_screen_fits_80_columns_of_ascii_and_is_shown_again_as_it_was(cross, home):
    done, made = cross

    assert done.stdout.isascii()
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]
    assert not [word for word in FORBIDDEN if word in done.stdout.lower().split()]
    assert mnq("runs", "show", made.name, cwd=home).stdout == done.stdout


def test_a_long_name_an_atr_stop_and_a_reward_fit_too(home):
    name = "a-name-that-is-long-enough-to-need-room"
    done = mnq("run", "strategies.toml", "-s", name, cwd=home)

    assert done.returncode == 0, done.stderr
    too_long = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert [line.split()[0] for line in too_long] == ["next"]  # a path is not broken
    assert "\nreward   trade-pnl " in done.stdout


def test_the_figures_add_up(cross):
    metrics = json.loads((cross[1] / "metrics.json").read_text())

    assert sum(part["net"] for part in metrics["by_reason"].values()) == pytest.approx(metrics["net_profit"])
    assert sum(part["net"] for part in metrics["by_side"].values()) == pytest.approx(metrics["net_profit"])
    assert len(metrics["worst_days"]) == 5
    assert metrics["trades"]["first_day"] >= metrics["first_day"]
    assert 0 <= metrics["chance_of_max_loss"] <= 1
    assert metrics["baselines"]["random"]["seeds"] == 100


def test_json_is_the_result_alone(home):
    (home / "talker.py").write_text(
        "from mnqcore import hookimpl\n@hookimpl\ndef run_started(run):\n    print('a plugin talks', run.strategy)\n"
    )
    done = mnq("run", "small.toml", "--format", "json", "-p", "talker.py", "--runs-dir", "json", cwd=home)

    document = json.loads(done.stdout, parse_constant=no_numbers_but_finite)
    assert done.returncode == 0
    assert next(iter(document)) == "schema"
    assert document["schema"] == "mnq.backtest/1"
    assert document["synthetic"] is True
    assert document["metrics"] == json.loads(next((home / "json").glob("*/*/metrics.json")).read_text())
    assert document["manifest"]["data"]["first"] == "2024-01-01T23:00:00+00:00"
    assert document["repeat"].startswith("mnq 0.1.0 + talker.py ")
    assert done.stderr == "a plugin talks small\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run"], 2, "Missing argument"),
        (["run", "strategies.toml"], 2, "cross"),
        (["run", "strategies.toml", "-s", "corss"], 2, "did you mean"),
        (["run", "small.toml", "--stage", "train"], 2, "agent 'sma-cross' is a rule: there is nothing to train"),
        (["run", "small.toml", "--stage", "bactest"], 2, "did you mean backtest?"),
        (["run", "small.toml", "--sed", "1"], 2, "--seed"),
        (["run", "small.toml", "--seed", "x"], 2, "--seed"),
        (["run", "small.toml", "-p", "nothing.py"], 2, "nothing.py"),
        (["run", "small.toml", "--runs-dir", "small.toml"], 2, "cannot write to the runs directory small.toml"),
        (["run", "small.toml", "--set", "agent.fast=0"], 3, "fast must be at least"),
        (["run", "small.toml", "--set", "agent.use=nothing"], 3, "no agent named 'nothing'"),
        (["run", "small.toml", "--initial-capital", "nan"], 3, "initial_balance"),
        (["run", "small.toml", "--fixed-sl-ticks", "0"], 3, "stop_ticks"),
        (["run", "missing.toml"], 3, "missing.toml"),
        (["run", "small.toml", "-p", "raises.py", "--set", "agent.use=raises"], 4, "agent 'raises' raised OSError: no"),
        (["run", "small.toml", "-p", "peeks.py", "--set", "agent.use=peeks"], 4, "agent 'peeks' looks into the future"),
        (["run", "small.toml", "--data", ""], 3, "path must name a file"),
        (["run", "small.toml", "--data", "missing.csv"], 5, "missing.csv"),
        (["run", "small.toml", "--data", "."], 5, "this is a directory"),
        (["run", "small.toml", "--data", "year1.csv"], 5, "year1.csv"),
    ],
)
def test_exit_codes_and_nothing_on_stdout(arguments, code, words, folder, capsys):
    agent = "from mnqcore import *\n@plugin\nclass A:\n    warmup = 0\n    def signals(self, view):\n        {}\n"
    agent += "@hookimpl\ndef register_agents(register):\n    register('{}', A)\n"
    (folder / "strategies.toml").write_text(STRATEGIES)
    (folder / "year1.csv").write_text("time,open,high,low,close,volume\n0001-01-01 00:00,1,1,1,1,1\n")
    (folder / "raises.py").write_text(agent.format("raise OSError('no')", "raises"))
    (folder / "peeks.py").write_text(agent.format("return (view.bars.close.shift(-1) > 18e3).astype('int8')", "peeks"))

    found = main(arguments)

    out, err = capsys.readouterr()
    assert found == code, err
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    left = [path.name for path in folder.glob("runs/*/*")]
    assert [name.endswith("-failed") for name in left] == [True] * (code == 4)  # what was at fault is set aside


def test_an_error_is_a_few_lines_in_a_real_process_too(home):
    done = mnq("run", "small.toml", "--data", "missing.csv", cwd=home)

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: no such file\n")
    assert "(exit 5; --traceback shows all)" in done.stderr


def test_traceback_shows_where_an_error_came_from(home):
    done = mnq("run", "small.toml", "--data", "missing.csv", "--traceback", cwd=home)

    assert done.returncode == 5
    assert "Traceback (most recent call last)" in done.stderr


def test_options_are_kept_with_their_origin(folder):
    assert main(["run", "small.toml", "--seed", "7", "--initial-capital", "50000", "--fixed-sl-ticks", "90",
                 "--set", "agent.fast=4", "--set", "session.rth=true"]) == 0  # fmt: skip

    values, text = resolved(folder)
    assert (values["seed"], values["agent"]["fast"], values["session"]["rth"]) == (7, 4, True)
    assert values["costs"]["initial_balance"] == 50_000.0
    assert values["bracket"] == {"use": "fixed", "stop_ticks": 90}
    for line in (
        "seed = 7  # --set seed=7",
        "initial_balance = 50000.0  # --set costs.initial_balance=50000.0",
        "stop_ticks = 90  # --set bracket.stop_ticks=90",
        "fast = 4  # --set agent.fast=4",
        "slow = 8  # small.toml:5",
        "flat_lead = 2  # default",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("name", ["bars.csv", "with space.csv", "caf\u00e9 \U0001f600.csv", 'quo"te\\.csv'])
def test_data_takes_a_file_of_any_name(name, folder, make_view):
    if os.name == "nt" and '"' in name:
        pytest.skip("no such file names here")
    make_view(3).bars.drop(columns="contract").to_csv(folder / name)

    assert main(["run", "small.toml", "--data", name]) == 0

    values, text = resolved(folder)
    assert values["data"]["path"] == name
    assert "# --set data.use=file" in text


def test_set_has_the_last_word(folder):
    assert main(["run", "small.toml", "--seed", "7", "--set", "seed=8"]) == 0

    assert resolved(folder)[0]["seed"] == 8


def test_runs_dir_and_log_file(folder, capsys):
    assert main(["--runs-dir", "elsewhere/deep", "run", "small.toml", "--log-file", "log.txt"]) == 0

    assert len(list(folder.glob("elsewhere/deep/small/*/manifest.json"))) == 1
    assert not (folder / "runs").exists()
    assert "elsewhere/deep/small/" in capsys.readouterr().out
    assert "small: simulator" in (folder / "log.txt").read_text()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the mode of a folder stops nobody here")
def test_a_runs_directory_that_cannot_be_written_is_told_before_the_work(folder, capsys):
    (folder / "locked").mkdir(mode=0o555)

    assert main(["run", "small.toml", "--runs-dir", "locked"]) == 2
    assert "cannot write to the runs directory locked" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_is_130_and_leaves_nothing(home):
    process = started(home, "--runs-dir", "interrupted")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert err.endswith("interrupted  (exit 130)\n")
    assert "Traceback" not in err
    assert out == ""
    assert not (home / "interrupted").exists()


def test_a_killed_run_is_not_listed(home, capsys):
    process = started(home, "--runs-dir", "killed")
    process.kill()
    process.communicate(timeout=30)

    assert main(["runs", "list", "--runs-dir", str(home / "killed")]) == 0
    assert capsys.readouterr().out.startswith("no runs under ")


def started(home, *arguments):
    """A process that has begun the work of a run and is not yet done."""
    process = opened(home, "run", "small.toml", "-p", "slow.py", "--set", "agent.use=slow", *arguments)
    assert process.stderr.readline() == "working\n"
    return process


def opened(home, *arguments):
    line = command(*arguments)
    heard = None if os.name == "nt" else hear_ctrl_c
    return subprocess.Popen(line, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)


def hear_ctrl_c():
    """Undo what a shell does to a suite that it runs in the background: its processes would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_reader_that_has_enough_is_no_error(home):
    with opened(home, "run", "small.toml", "--runs-dir", "piped") as process:
        process.stdout.close()
        err = process.stderr.read()

    assert err == ""
    assert len(list((home / "piped").glob("*/*/manifest.json"))) == 1


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
@pytest.mark.parametrize(("quiet", "shown"), [([], True), (["-q"], False)])
def test_progress_is_shown_on_a_terminal_and_wiped(quiet, shown, home):
    import pty

    terminal, other_end = pty.openpty()
    line = command("run", "small.toml", "--runs-dir", "terminal", *quiet)
    process = subprocess.Popen(line, cwd=home, stdout=subprocess.PIPE, stderr=other_end, text=True)
    out, _ = process.communicate(timeout=60)
    os.close(other_end)
    written = read_all(terminal)

    assert process.returncode == 0
    assert out.startswith("small    MNQ 5 min")
    assert ("[####" in written) == shown
    assert not shown or written.endswith("\r" + " " * 60 + "\r")


def read_all(terminal):
    text = b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed, and nothing is left
            break
        if not part:
            break
        text += part
    os.close(terminal)
    return text.decode()
