"""Training as a user meets it: real processes, Ctrl-C and kill, older options, screens, what is not installed."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
import tomli

from mnqcore import Options
from mnqcore.cli import main
from mnqcore.stages import dry
from tests.tiny import MEASURED, SAME, STOPPER, STRATEGY, bytes_of, command, hear_ctrl_c, mnq

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
STOPPABLE = ("-p", "stopper.py", "--set", "reward.use=stopper", "--stage", "train,backtest")
A2C = ("--algorithm", "A2C", "--set", "agent.n_envs=4", "--set", "agent.timesteps=4096",
       "--set", "agent.checkpoint=1000", "--set", "agent.hidden=[8]")  # fmt: skip
QUICK = ("--set", "agent.checkpoint=256", "--timesteps", "512")
FORBIDDEN = ("lane", "lanes", "tape", "latent", "latents")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a strategy file and a reward that can stop its process."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "s.toml").write_text(STRATEGY)
    (folder / "stopper.py").write_text(STOPPER)
    return folder


@pytest.fixture(scope="module")
def whole(home):
    """A finished process and its run."""
    return finished(home, "whole", "1")


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


def finished(home, runs, hash_seed, *settings):
    done = mnq("run", "s.toml", *STOPPABLE, *settings, "--runs-dir", runs, cwd=home, PYTHONHASHSEED=hash_seed)
    assert done.returncode == 0, done.stderr
    (made,) = (home / runs / "tiny").iterdir()
    return done, made


def stopped(home, runs, by, *settings, call=700):
    """The process of a training that was ended at a call of its reward, and the folder that it left."""
    done = mnq(
        "run", "s.toml", *STOPPABLE, *settings, "--runs-dir", runs, cwd=home, STOP_AT=str(MEASURED + call), STOP_BY=by
    )
    (left,) = (home / runs / "tiny").iterdir()
    return done, left


def resumed(home, runs, left, *settings):
    """Resume in this process; return the run."""
    assert main(["run", "s.toml", *STOPPABLE, *settings, "--runs-dir", runs, "--resume", str(left)]) == 0
    (made,) = set((home / runs / "tiny").iterdir()) - {left}
    return made


def test_two_processes_train_the_same_whatever_their_hash_seed(whole, home):
    _, other = finished(home, "other", "2")

    assert bytes_of(other, *SAME, "model/manifest.json", "model/probe.json") == bytes_of(
        whole[1], *SAME, "model/manifest.json", "model/probe.json"
    )


def test_the_screen_of_a_model_fits_80_columns_of_ascii(whole):
    done, made = whole

    assert done.stderr == ""
    assert "\nTEST bars: the models were made without them\n" in done.stdout
    assert f"\nrun      whole/tiny/{made.name}   " in done.stdout
    assert fits(done.stdout)


def fits(text):
    """Whether a screen is of 80 columns of plain ASCII, in words of the user's; a path is not broken."""
    lines = [line for line in text.splitlines() if not line.startswith(("next ", "run "))]
    assert text.isascii()
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []
    assert [word for word in FORBIDDEN if re.search(rf"\b{word}\b", text.lower())] == []
    return True


@pytest.mark.proof
def test_verify_trains_again_and_finds_the_same(whole, here, capsys):
    assert main(["runs", "verify", str(whole[1]), "--retrain"]) == 0

    names = ("inputs", "features", "models", "weights", "ledger", "figures", "versions")
    assert capsys.readouterr().out.splitlines() == [f"{name:<9} equal" for name in names]


@POSIX
def test_ctrl_c_leaves_what_is_resumed_to_the_same_result(whole, here):
    done, left = stopped(here, "interrupted", "SIGINT")

    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line] == [
        "the training was interrupted, and can go on",
        f"  kept    {left}",
        f"  resume  the same command with --resume {left}",
        "interrupted  (exit 130)",
    ]
    assert left.name.endswith("-interrupted")
    made = resumed(here, "interrupted", left)
    assert bytes_of(made, *SAME) == bytes_of(whole[1], *SAME)


@POSIX
@pytest.mark.proof
def test_a_killed_training_leaves_what_is_resumed_to_the_same_result(whole, here, capsys):
    done, left = stopped(here, "killed", "SIGKILL")

    assert done.returncode == -9
    assert left.name.startswith(".partial-")
    assert main(["runs", "list", "--runs-dir", "killed"]) == 0
    assert capsys.readouterr().out.startswith("no runs under ")
    assert main(["run", "s.toml", *STOPPABLE, "--runs-dir", "killed", "--resume", "nothing"]) == 2
    assert str(left.relative_to(here)) in capsys.readouterr().err  # it is not forgotten
    made = resumed(here, "killed", left)
    assert bytes_of(made, *SAME) == bytes_of(whole[1], *SAME)


@POSIX
@pytest.mark.proof
@pytest.mark.parametrize("by", ["SIGINT", "SIGKILL"])
def test_a2c_is_resumed_to_the_same_result(by, here):
    done, left = stopped(here, f"a2c-{by}", by, *A2C, call=600)
    _, other = finished(here, f"a2c-{by}-whole", "3", *A2C)
    made = resumed(here, f"a2c-{by}", left, *A2C)

    assert done.returncode == (130 if by == "SIGINT" else -9)
    assert bytes_of(made, *SAME) == bytes_of(other, *SAME)


@POSIX
@pytest.mark.proof
@pytest.mark.parametrize("jobs", [(), ("--jobs", "2")], ids=["serial", "joblib"])
def test_ctrl_c_amid_seeds_and_folds_loses_none_that_is_done(jobs, here):
    many = ("--walk-forward", "--set", "split.folds=2", "--seeds", "2", "--timesteps", "2048")
    runs = f"many-{len(jobs)}"
    line = command("run", "s.toml", *STOPPABLE, *many, *jobs, "--runs-dir", runs)
    process = subprocess.Popen(
        line, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    deadline = time.monotonic() + 300
    while not list(here.glob(f"{runs}/tiny/.partial-*/units/*/result.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (left,) = (here / runs / "tiny").iterdir()
    done = {path.parent.name: path.stat().st_mtime_ns for path in left.glob("units/*/result.json")}
    assert 1 <= len(done) < 4

    made = resumed(here, runs, left, *many, *jobs)
    again = mnq("run", "s.toml", *STOPPABLE, *many, "--runs-dir", f"{runs}-whole", cwd=here)
    (other,) = (here / f"{runs}-whole" / "tiny").iterdir()
    names = [f"units/seed-{seed}-fold-{fold}/model/policy.safetensors" for seed in (0, 1) for fold in (1, 2)]
    assert again.returncode == 0
    assert bytes_of(made, *names, *SAME[2:]) == bytes_of(other, *names, *SAME[2:])


OLDER = ("--timesteps", "512", "--algorithm", "PPO", "--feature-extractor", "lstm", "--walk-forward", "--device", "cpu",
         "--fixed-sl-ticks", "90", "--initial-capital", "20000", "--seed", "3")  # fmt: skip
SETTINGS = ("agent.timesteps=512", "agent.use=ppo", "extractor.use=lstm", "split.use=walk-forward", "agent.device=cpu",
            "bracket.use=fixed", "bracket.stop_ticks=90", "costs.initial_balance=20000.0", "seed=3")  # fmt: skip


def test_older_options_equal_their_settings_and_are_recorded(here, capsys):
    small = ("--set", "split.folds=1", "--set", "agent.checkpoint=256", "--stage", "train")
    assert main(["run", "s.toml", *OLDER, *small, "--runs-dir", "older"]) == 0
    given = [word for setting in SETTINGS for word in ("--set", setting)]
    assert main(["run", "s.toml", *given, *small, "--runs-dir", "newer"]) == 0

    (older,), (newer,) = (list(here.glob(f"{name}/tiny/*")) for name in ("older", "newer"))
    assert (
        json.loads((older / "manifest.json").read_text())["digest"]
        == (json.loads((newer / "manifest.json").read_text())["digest"])
    )
    assert bytes_of(older, *SAME[:2], "metrics.json") == bytes_of(newer, *SAME[:2], "metrics.json")
    text = (older / "resolved.toml").read_text()
    values = tomli.loads(text)["strategy"]["tiny"]
    assert (values["agent"]["use"], values["agent"]["timesteps"], values["agent"]["device"]) == ("ppo", 512, "cpu")
    assert values["agent"]["n_envs"] == 4  # the same agent keeps what the file says of it
    assert (values["extractor"]["use"], values["split"]["use"]) == ("lstm", "walk-forward")
    assert (values["bracket"]["stop_ticks"], values["costs"]["initial_balance"]) == (90, 20_000.0)
    assert "timesteps = 512  # --set agent.timesteps=512" in text
    assert 'use = "walk-forward"  # --set split.use=walk-forward' in text


def test_an_algorithm_is_named_in_any_case(here, capsys):
    assert main(["run", "s.toml", "--algorithm", "A2c", "--stage", "train", "--dry-run", "--format", "json"]) == 0

    assert json.loads(capsys.readouterr().out)["agent"] == "a2c"


def test_a_dry_run_says_how_long_it_takes_and_keeps_nothing(here, capsys, monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arguments = ["run", "s.toml", "--stage", "train,backtest", "--dry-run", "--seeds", "3", "--jobs", "2",
                 "--walk-forward", "--timesteps", "10000000", "--runs-dir", "dry"]  # fmt: skip
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert main([*arguments, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert "12 trainings of 10,000,000 bars each, 2 at a time" in table
    assert re.search(r"[\d,]+ bars a second, measured for two seconds", table)
    assert re.search(r"expected [\d.]+ hours in all", table)
    assert table.endswith("nothing was run or kept\n")
    assert fits(table)
    assert (found["schema"], found["trainings"], found["jobs"], found["timesteps"]) == ("mnq.estimate/1", 12, 2, 10**7)
    assert found["hours"] == pytest.approx(6 * 10**7 / found["pace"] / 3600)
    assert found["windows"].keys() == {"train", "validate", "test"}
    assert not (here / "dry").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("executor", "seeds", "jobs"),
    [
        (["executor.use=serial"], 6, 1),
        (["executor.use=joblib"], 6, 5),
        (["executor.use=joblib"], 3, 3),
        (["executor.use=joblib", "executor.jobs=4"], 6, 4),
    ],
)
def test_a_dry_run_counts_on_as_many_processes_as_there_will_be(executor, seeds, jobs, here, monkeypatch):
    import joblib

    monkeypatch.setattr(joblib, "cpu_count", lambda: 5)
    monkeypatch.setattr(dry, "_pace", lambda _on: 1000.0)

    found = dry.estimate("s.toml", stages="train", set=executor, options=Options(seeds=seeds))

    assert (found.trainings, found.jobs) == (seeds, jobs)
    assert found.hours == pytest.approx(-(-seeds // jobs) * 4096 / 1000 / 3600)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stage", "train", *QUICK], "VALIDATION bars: the models were chosen by them; this is no test"),
        (["--stage", "train,backtest", *QUICK, "--seeds", "2"], "* this run: the median of 2 by validation"),
        (["--stage", "train,backtest", *QUICK, "--walk-forward", "--set", "split.folds=2"], "FOLD  FROM "),
        (["--stage", "train", *QUICK, "--walk-forward", "--set", "split.folds=2"], "FOLD  FROM "),
        (["--stage", "train,backtest", "--in-sample", *QUICK], "IN-SAMPLE: the models were trained on these bars"),
    ],
)
def test_screens_fit_and_are_shown_again_as_they_were(arguments, words, here, capsys):
    before = set(here.glob("screens/tiny/*"))
    assert main(["run", "s.toml", *arguments, "--runs-dir", "screens"]) == 0
    screen = capsys.readouterr().out
    (made,) = set(here.glob("screens/tiny/*")) - before
    assert main(["runs", "show", str(made)]) == 0

    assert words in screen
    assert fits(screen)
    assert capsys.readouterr().out == screen


def test_large_figures_of_folds_and_seeds_fit_too():
    from mnqcore.cli import learning

    figures = {"first": "2024-01-01T00:00:00+00:00", "net_profit": -99_999.99, "sharpe": -12.34,
               "max_drawdown": -99_999.99, "trades": 12_345}  # fmt: skip
    windows = dict.fromkeys(("train", "validate", "test"), figures)
    metrics = {
        "window": {"name": "test"},
        "learning": {
            "folds": [{"fold": number, **windows} for number in (1, 12)],
            "seeds": [{"seed": seed, "score": -12.34, **figures} for seed in (4_294_967_294, 4_294_967_295)],
            "actions": {"hold": 1.0, "no_op": 1.0, "denied": 1.0},
        },
    }
    manifest = {"model": {"seed": 4_294_967_294}}

    assert fits("\n".join(learning.learning(metrics, manifest)))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--stage", "backtest"], 2, "--stage train,backtest, or --model RUN"),
        (["--stage", "backtest", "--model", "nothing"], 2, "no run 'nothing'"),
        (["--stage", "train", "--algorithm", "flat"], 2, "agent 'flat' is a rule: there is nothing to train"),
        (["--algorithm", "flat", "--seeds", "2"], 2, "--seeds"),
        (["--algorithm", "flat", "--model", "x"], 2, "--model"),
        (["--stage", "train", "--resume", "nothing"], 2, "there is no checkpoint to go on from"),
        (["--stage", "train", "--seeds", "0"], 2, "--seeds"),
        (["--stage", "train", "--timesteps", "0"], 3, "timesteps must be at least 1"),
        (["--stage", "train", "--feature-extractor", "gruu"], 3, "no extractor named 'gruu'"),
        (["--stage", "train", "--device", "tpu"], 3, "device must be one of 'auto', 'cpu', 'cuda'"),
        (["--stage", "train", "--set", "agent.batch_size=100"], 3, "batch_size must divide n_envs * n_steps = 256"),
        (["--stage", "train", "--data", "missing.csv"], 5, "missing.csv"),
        (["--stage", "train", "--set", "split.embargo_bars=5000"], 5, "the bars are too few for the split"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_few_lines_and_leaves_nothing(arguments, code, words, here, capsys):
    found = main(["run", "s.toml", *arguments, "--runs-dir", "refused"])

    out, err = capsys.readouterr()
    assert found == code, err
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert not list(here.glob("refused/tiny/*"))


def test_a_model_is_named_by_a_part_of_its_run(whole, here, capsys):
    arguments = ["run", "s.toml", *STOPPABLE[:4], "--model", whole[1].name[:20], "--runs-dir", "whole"]
    assert main([*arguments, "--set", "data.days=15"]) == 5
    err = capsys.readouterr().err
    assert "--in-sample trades those it was trained on" in err
    assert main([*arguments, "--set", "data.days=15", "--in-sample"]) == 0
    screen = capsys.readouterr().out
    assert screen.count("IN-SAMPLE: the models were trained on these bars; this says nothing of others\n") == 1
    assert f"of run tiny/{whole[1].name}" in screen
    assert fits(screen)


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
EXTRA = ("gymnasium", "joblib", "safetensors", "stable_baselines3", "tensorboard", "torch", "tqdm")


def without(modules, code, cwd):
    """Run code in a process where these modules cannot be imported."""
    whole = BLOCKED.format(modules=set(modules)) + code
    return subprocess.run([sys.executable, "-c", whole], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "s.toml", "--stage", "train"],
        ["run", "s.toml", "--stage", "train", "--dry-run"],
        ["run", "s.toml", "--model", "whole"],
        ["runs", "verify", "RUN"],
    ],
)
@pytest.mark.parametrize("modules", [("torch",), EXTRA], ids=["torch", "all"])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(arguments, modules, whole, here):
    line = [str(whole[1]) if word == "RUN" else word for word in arguments]
    done = without(modules, f"from mnqcore.cli import main; sys.exit(main({line!r}))", here)

    names = ", ".join(name.replace("_", "-") for name in modules)
    verb = "is" if len(modules) == 1 else "are"
    assert done.stderr.splitlines() == [
        f"error: {names} {verb} not installed",
        '  next    pip install "mnq[rl]"',
        "  (exit 4; --traceback shows all)",
    ]
    assert done.returncode == 4


@pytest.mark.parametrize("name", ["TradingEnv", "TradingAgent", "Training"])
def test_the_classes_that_need_an_extra_say_so_too(name, tmp_path):
    done = without(EXTRA, f"from mnqcore import {name}", tmp_path)

    assert "mnqcore.errors.ExtraMissing: gymnasium" in done.stderr
    assert done.stderr.endswith('not installed\n  next    pip install "mnq[rl]"\n')


def test_without_the_extra_rules_run_and_files_are_checked(here):
    code = "from mnqcore.cli import main; sys.exit(main({!r}))"
    check = without(EXTRA, code.format(["check", "s.toml"]), here)
    rule = without(EXTRA, code.format(["run", "s.toml", "--algorithm", "flat", "--runs-dir", "rules"]), here)

    assert (check.returncode, rule.returncode) == (0, 0), rule.stderr


@pytest.mark.proof
@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_a_training_shows_how_far_it_is_on_a_terminal_and_wipes_it(here):
    import fcntl
    import pty
    import struct
    import termios

    from tests.test_cli_run import read_all

    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    line = command("run", "s.toml", "--stage", "train", "--runs-dir", "terminal")
    process = subprocess.Popen(line, cwd=here, stdout=subprocess.PIPE, stderr=other_end, text=True)
    out, _ = process.communicate(timeout=300)
    os.close(other_end)
    written = read_all(terminal)

    assert process.returncode == 0
    assert out.startswith("tiny     MNQ 5 min")
    assert "seed 0 fold 1: " in written
    assert "bar/s" in written
    assert max(len(part) for part in re.split(r"[\r\n]+", written)) <= 80
    assert written.endswith("\r" + " " * 60 + "\r")
