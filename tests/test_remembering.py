"""An agent that remembers: a session that is killed goes on as if it had not been."""

import pytest

from mnqcore import run
from mnqcore.trading.journal import FILE, Journal
from tests.sessions import BUSY, counts, kill_at, proven, session, strategy_file

pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed here")
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
def model(tmp_path_factory):
    import torch
    from mnq_sb3_contrib.recurrent import RecurrentPpo

    folder = tmp_path_factory.mktemp("model")
    trained = RecurrentPpo.train

    def choosy(learner, training):
        trained(learner, training)
        with torch.no_grad():
            draw, policy = torch.Generator().manual_seed(4), learner.policy
            for part in (policy.lstm_actor, policy.mlp_extractor.policy_net, policy.action_net):
                for weight in part.parameters():
                    weight.normal_(0.0, 1.5 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 0.0, generator=draw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecurrentPpo, "train", choosy)
        return run(strategy_file(folder, TEXT), None, "train", runs_dir=folder / "runs").run.path


@pytest.mark.parametrize("mode", ["replay", "paper"])
def test_a_killed_session_remembers(model, tmp_path, mode):
    import subprocess

    from tests.sessions import command

    whole = session(tmp_path / "whole", "recalls", *BUSY, mode=mode, text=TEXT, model=model)
    actions = decided(whole.run.path)
    assert len({action for _, action, _ in actions}) > 1

    folder = tmp_path / "killed"
    told = [word for setting in BUSY for word in ("--set", setting)]
    process = subprocess.Popen(
        command(
            "run",
            strategy_file(folder, TEXT),
            "--stage",
            "trade",
            "--mode",
            mode,
            "--model",
            model,
            *told,
            "--runs-dir",
            folder / "runs",
            "-q",
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    held = kill_at(process, folder / "runs" / "recalls" / f".session-{mode}-SIM" / FILE, 60)
    assert held < len(actions) - 10
    again = session(folder, "recalls", *BUSY, mode=mode, text=TEXT, model=model)

    assert decided(again.run.path) == actions
    assert set(counts(proven(again.run, model=str(model))).values()) == {0}
