"""An agent that remembers: a session that is killed goes on as if it had not been."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from mnqcore import run
from mnqcore.plugins import load
from mnqcore.trading.journal import FILE, Journal
from tests.sessions import BUSY, command, counts, kill_at, proven, session, strategy_file

PACKAGE = Path(__file__).parents[1] / "contrib" / "mnq-sb3-contrib"
KNOWN = f"""
import sys

from mnqcore import hookimpl

if {str(PACKAGE)!r} not in sys.path:
    sys.path.insert(0, {str(PACKAGE)!r})


@hookimpl
def register_agents(register):
    register("recurrent-ppo", "mnq_sb3_contrib.recurrent:RecurrentPpo")
"""
TEXT = """
format = 1
[strategy.recalls]
data = { use = "synthetic", market = "no-edge", days = 12 }
features.moves = { use = "returns", horizons = [1, 3] }
lookback = 4
reward = { use = "equity-change" }
extractor = { use = "gru", hidden = 8 }
agent = { use = "recurrent-ppo", timesteps = 256, n_envs = 4, n_steps = 32, n_epochs = 1, hidden = [8] }
"""


def decided(place):
    with Journal.read(place / FILE) as journal:
        events = [event.data for event in journal.events() if event.kind == "decision"]
    return [(one["bar"], one["action"], one["position"]) for one in events]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A file that makes the package known, which is not installed here."""
    file = tmp_path_factory.mktemp("plugin") / "remembering.py"
    file.write_text(KNOWN)
    return str(file)


@pytest.fixture(scope="module")
def model(tmp_path_factory, plugin):
    import torch

    plugins = load([plugin])
    learner_class: Any = plugins.find("agent", "recurrent-ppo").load()
    folder = tmp_path_factory.mktemp("model")
    trained = learner_class.train

    def choosy(learner, training):
        trained(learner, training)
        with torch.no_grad():
            draw, policy = torch.Generator().manual_seed(4), learner.policy
            for part in (policy.lstm_actor, policy.mlp_extractor.policy_net, policy.action_net):
                for weight in part.parameters():
                    weight.normal_(0.0, 1.5 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 0.0, generator=draw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner_class, "train", choosy)
        return run(strategy_file(folder, TEXT), None, "train", plugins=plugins, runs_dir=folder / "runs").run.path


@pytest.mark.parametrize("mode", ["replay", pytest.param("paper", marks=pytest.mark.proof)])
def test_a_killed_session_remembers(model, plugin, tmp_path, mode):
    given = {"mode": mode, "text": TEXT, "model": model, "plugins": [plugin]}
    whole = session(tmp_path / "whole", "recalls", *BUSY, **given)
    actions = decided(whole.run.path)
    assert len({action for _, action, _ in actions}) > 1

    folder = tmp_path / "killed"
    words = ["run", strategy_file(folder, TEXT), "--stage", "trade", "--mode", mode, "--model", model, "-p", plugin]
    words += [word for setting in BUSY for word in ("--set", setting)]
    process = subprocess.Popen(
        command(*words, "--runs-dir", folder / "runs", "-q"),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    held = kill_at(process, folder / "runs" / "recalls" / f".session-{mode}-SIM" / FILE, 60)
    assert held < len(actions) - 10
    again = session(folder, "recalls", *BUSY, **given)

    assert decided(again.run.path) == actions
    assert set(counts(proven(again.run, model=str(model))).values()) == {0}
