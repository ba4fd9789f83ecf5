"""The benchmark command runs and prints every row; how fast anything is belongs to no test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_row_is_printed_without_the_peers():
    done = run("--no-peers", "--rounds", "1", "--bars", "3000")

    assert done.returncode == 0, done.stderr
    head, rule, *rows = done.stdout.split("\n\n")[0].splitlines()
    assert head.split() == ["item", "mnq", "reference", "ratio", "target", "met?"]
    assert set(rule) == {"-", " "}
    targets = ["<= 2x", "<= 12 us", ">= 3.7x faster", ">= 7x faster", "<= 1.3x", "<= 8x"]
    targets += [">= 20x", ">= 25x", ">= 40x", ">= 500x"]
    assert [target in row for target, row in zip(targets, rows, strict=True)] == [True] * len(targets)
    assert [row.endswith(" -") for row in rows] == [False, False, True, True] + [False] * 6
    assert done.stdout.count("not run (--no-peers)") == 2


def test_a_row_that_does_not_exist_is_refused():
    done = run("--only", "warp")

    assert done.returncode == 2
    assert "kernel" in done.stderr
