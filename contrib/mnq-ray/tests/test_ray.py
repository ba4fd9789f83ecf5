"""Folds and seeds on Ray give the numbers of `serial`."""

import pytest

from mnqcore import MnqError

ray = pytest.importorskip("ray", reason="Ray is not installed here")
from mnq_ray.executor import Ray

pytestmark = pytest.mark.proof


def shout(text):
    """A unit of work."""
    if text == "bad":
        raise MnqError("this one is bad", where="here")
    return text.upper()


def test_answers_come_in_order():
    assert Ray(jobs=2).map(shout, ["a", "b", "c"]) == ["A", "B", "C"]


def test_the_error_of_a_unit_is_its_own():
    with pytest.raises(MnqError, match="this one is bad") as caught:
        Ray(jobs=1).map(shout, ["a", "bad"])
    assert caught.value.facts["where"] == "here"


def test_a_cluster_that_is_not_there_is_named():
    with pytest.raises(MnqError, match="Ray cannot be reached"):
        Ray(address="127.0.0.1:1").map(shout, ["a"])


def test_a_walk_forward_and_two_seeds_are_those_of_serial(tmp_path):
    from tests.tiny import learn

    split = ("split.use=walk-forward", "split.folds=2", "agent.timesteps=1024", "agent.checkpoint=512")
    results = [
        learn(tmp_path / use, f"executor.use={use}", *split, seeds=2, plugins=["mnq_ray"] if use == "ray" else [])
        for use in ("serial", "ray")
    ]
    one, other = (result.run for result in results)
    assert one.metrics["learning"] == other.metrics["learning"]
    for name in ("trades.parquet", "model/fold-1/policy.safetensors", "model/fold-2/policy.safetensors"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
