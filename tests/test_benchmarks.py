"""The benchmark command runs and prints every row; how fast anything is belongs to no test."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rows import ROWS

ROOT = Path(__file__).parents[1]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


QUICK = {
    "kernel": "<= 2x", "sizer": "<= 12 us", "backtesting": ">= 3.7x faster", "vectorbt": ">= 7x faster",
    "technical": "<= 1.3x", "startup": "<= 8x", "model-lstm": ">= 20x", "model-gru": ">= 25x",
    "model-attention": ">= 40x", "model-again": ">= 500x", "bar-8": ">= 15x", "bar-64": ">= 60x", "window-8": ">= 8x",
    "window-64": ">= 12x", "single": ">= 3.5x", "reward": "<= 1.3x", "buffer": "<= 1/150",
    "trade-replay": ">= 500 bars/s", "trade-order": "<= 2 ms", "trade-live": "<= 60 ms",
}  # fmt: skip
TRAININGS = {"ppo-attention": ">= 3.0x", "ppo-lstm": ">= 1.0x", "ppo-gru": ">= 1.0x", "seeds": ">= 1.7x"}
OF_PEERS = ("backtesting", "vectorbt", "single")


@pytest.mark.proof
@pytest.mark.parametrize("wanted", [QUICK, TRAININGS], ids=["quick", "trainings"])
def test_every_row_is_printed_without_the_peers(wanted):
    chosen = [part for name in wanted for part in ("--only", name)]
    done = run("--no-peers", "--rounds", "1", "--bars", "3000", "--timesteps", "2048", "--traded", "300", *chosen)

    assert done.returncode == 0, done.stderr
    head, rule, *rows = done.stdout.split("\n\n")[0].splitlines()
    assert head.split() == ["item", "mnq", "reference", "ratio", "target", "met?"]
    assert set(rule) == {"-", " "}
    assert [target in row for target, row in zip(wanted.values(), rows, strict=True)] == [True] * len(wanted)
    assert [row.endswith(" -") for row in rows] == [name in OF_PEERS for name in wanted]
    assert done.stdout.count("not run (--no-peers)") == sum(name in OF_PEERS for name in wanted)


def test_the_tests_know_every_row():
    assert {**QUICK, **TRAININGS}.keys() == ROWS.keys()


def test_a_row_that_does_not_exist_is_refused():
    done = run("--only", "warp")

    assert done.returncode == 2
    assert "kernel" in done.stderr
