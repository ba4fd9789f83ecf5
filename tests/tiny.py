"""A strategy that learns in a second, and what tests of trainings have in common."""

import json
import os
import signal
import subprocess
import sys

from mnqcore import Options, run
from mnqcore.plugins import load

STRATEGY = """
format = 1
[strategy.tiny]
data = { use = "synthetic", days = 30 }
features.moves = { use = "returns", horizons = [1, 3] }
lookback = 8
reward = { use = "equity-change" }
extractor = { use = "gru", hidden = 8 }

[strategy.tiny.agent]
use = "ppo"
timesteps = 4096
n_envs = 4
n_steps = 64
n_epochs = 2
learning_rate = 0.003
checkpoint = 1024
hidden = [8]
"""
A2C = ("agent.use=a2c", "agent.timesteps=4096", "agent.n_envs=4", "agent.checkpoint=1000", "agent.hidden=[8]")
WALK = ("split.use=walk-forward", "split.folds=2", "agent.timesteps=512", "agent.checkpoint=256")

STOPPER = """
import os
import signal

from mnqcore import hookimpl, plugin

COUNT = {}

@plugin
class Stopper:
    '''Pay the change of equity, and end the process at the step that the environment names.'''

    def __call__(self, step):
        wanted = os.environ.get("STOP_AT", "0")
        COUNT[wanted] = COUNT.get(wanted, 0) + 1
        if COUNT[wanted] == int(wanted):
            os.kill(os.getpid(), getattr(signal, os.environ["STOP_BY"]))
        return step.equity_change.copy()

@hookimpl
def register_rewards(register):
    register("stopper", Stopper)
"""
MEASURED = 1000
"""Calls of the reward before the training: its scale is measured."""


def strategy(folder):
    """Write the strategy into a folder; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "s.toml"
    file.write_text(STRATEGY)
    return file


def learn(
    folder, *settings, stages="train,backtest", plugins=(), runs_dir=None, progress=lambda _part: None, **options
):
    """Run stages of the strategy in this process; return what came of it."""
    return run(
        strategy(folder),
        None,
        stages,
        list(settings),
        plugins=load(plugins),
        runs_dir=runs_dir or folder / "runs",
        progress=progress,
        options=Options(**options),
    )


def command(*arguments):
    """The command line in a process of its own."""
    return [sys.executable, "-W", "error::RuntimeWarning", "-m", "mnqcore", *map(str, arguments)]


def mnq(*arguments, cwd, **environ):
    """Run a command in a process that hears Ctrl-C, and wait for its end."""
    heard = None if os.name == "nt" else hear_ctrl_c
    return subprocess.run(
        command(*arguments), cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
        preexec_fn=heard,
    )  # fmt: skip


def hear_ctrl_c():
    """Undo what a shell does to a suite that it runs in the background: its processes would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def bytes_of(run, *names):
    """Return name -> bytes of files of a run directory."""
    return {name: (run / name).read_bytes() for name in names}


def rows(folder):
    """Return the rows of a training's log."""
    return [json.loads(line) for line in (folder / "progress.json").read_text().splitlines()]


SAME = ("model/policy.safetensors", "model/scaler.json", "trades.parquet", "equity.parquet", "metrics.json")
"""What equal trainings leave byte for byte."""
