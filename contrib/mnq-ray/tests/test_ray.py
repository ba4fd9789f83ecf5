"""Folds and seeds on Ray give the numbers of `serial`."""

import time

import pytest

from mnqcore import MnqError, Options, run

ray = pytest.importorskip("ray", reason="Ray is not installed here")
from mnq_ray.executor import Ray

STRATEGY = """
format = 1
requires = ["mnq-ray>=0.1"]
[strategy.walks]
data = { use = "synthetic", days = 30 }
features.moves = { use = "returns", horizons = [1, 3] }
lookback = 8
split = { use = "walk-forward", folds = 2 }
reward = { use = "equity-change" }
extractor = { use = "gru", hidden = 8 }
agent = { use = "ppo", timesteps = 512, n_envs = 4, n_steps = 64, n_epochs = 2, checkpoint = 256, hidden = [8] }
"""


def shout(text):
    """A unit of work; "late" fails after all others."""
    if text == "late":
        time.sleep(2)
        raise MnqError("this one is late", where="there")
    if text == "bad":
        raise MnqError("this one is bad", where="here")
    return text.upper()


def test_answers_come_in_order():
    assert Ray(jobs=2).map(shout, ["a", "b", "c"]) == ["A", "B", "C"]
    assert not ray.is_initialized()


def test_the_error_of_a_unit_is_its_own():
    with pytest.raises(MnqError, match="this one is bad") as caught:
        Ray(jobs=1).map(shout, ["a", "bad"])

    assert caught.value.facts["where"] == "here"
    assert not ray.is_initialized()


def test_of_two_errors_the_first_in_order_is_raised():
    with pytest.raises(MnqError, match="this one is late"):
        Ray(jobs=2).map(shout, ["late", "bad"])


def test_what_runs_already_is_joined_and_goes_on():
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        assert Ray().map(shout, ["a", "b"]) == ["A", "B"]
        with pytest.raises(MnqError, match="this one is bad"):
            Ray().map(shout, ["bad", "late"])
        assert Ray().map(shout, ["c"]) == ["C"]
    finally:
        ray.shutdown()


def test_a_cluster_that_is_not_there_is_named():
    with pytest.raises(MnqError, match="Ray cannot be reached"):
        Ray(address="127.0.0.1:1").map(shout, ["a"])


def test_a_walk_forward_and_two_seeds_are_those_of_serial(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(STRATEGY)

    one, other = (
        run(
            file, None, "train,backtest", [f"executor.use={use}"], runs_dir=tmp_path / use, options=Options(seeds=2)
        ).run
        for use in ("serial", "ray")
    )

    assert len(one.metrics["learning"]["seeds"]) == 2
    assert one.metrics["learning"] == other.metrics["learning"]
    for name in ("trades.parquet", "model/fold-1/policy.safetensors", "model/fold-2/policy.safetensors"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
