"""Executors: the same answers and the same first failure, wherever the work is done; one thread a process."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from mnqcore import DataError, MnqError
from mnqcore.plugins import load
from mnqcore.strategy.findings import Finding, InvalidFile
from mnqplugins.executors.joblib import Joblib
from mnqplugins.executors.serial import Serial

TWO = Joblib(jobs=2)
EVERY = [Serial(), TWO]


def shout(text):
    return text.upper()


def fail_late_and_early(text):
    """Fail on all but 'good'; the first item takes longest to do so."""
    if text == "good":
        return text
    time.sleep(0.5 if text == "first" else 0.0)
    raise DataError(f"no bars for {text}", where="here", next="fetch them")


def break_down(text):
    raise ZeroDivisionError(text)


def die(text):
    os._exit(3)


def refuse(_text):
    raise invalid()


def invalid():
    return InvalidFile([Finding("unknown key", "a.toml", dotted="strategy.x")])


def surroundings(_text):
    import torch

    names = ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")
    found = {name: os.environ.get(name) for name in names}
    return json.dumps(found | {"process": os.getpid(), "threads": torch.get_num_threads()})


@pytest.mark.parametrize("executor", [Serial(), Joblib(jobs=1), Joblib()], ids=repr)
@pytest.mark.parametrize("items", [[], [f"item {at}\n\u00e9" for at in range(9)]], ids=len)
def test_answers_come_in_the_order_of_the_items(executor, items):
    assert executor.map(shout, items) == [item.upper() for item in items]


@pytest.mark.parametrize("executor", EVERY, ids=repr)
def test_the_first_item_that_fails_is_the_one_heard_of(executor):
    with pytest.raises(DataError) as caught:
        executor.map(fail_late_and_early, ["good", "first", "second", "third"])

    assert str(caught.value) == "no bars for first\n  where   here\n  next    fetch them"
    assert caught.value.facts == {"where": "here", "next": "fetch them"}


def test_what_went_wrong_elsewhere_tells_its_place():
    with pytest.raises(ZeroDivisionError, match="item") as caught:
        TWO.map(break_down, ["item", "another"])

    assert "in break_down" in str(caught.value.__cause__)


def test_an_error_that_another_process_raised_is_whole():
    with pytest.raises(InvalidFile) as caught:
        TWO.map(refuse, ["x", "y"])

    assert str(caught.value) == str(invalid())
    assert caught.value.findings == invalid().findings
    assert caught.value.exit_code == 3


def test_workers_are_other_processes_of_one_thread(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    before = dict(os.environ)

    found = [json.loads(text) for text in TWO.map(surroundings, ["a", "b"])]

    assert {one["process"] for one in found}.isdisjoint({os.getpid()})
    assert {one["threads"] for one in found} == {1}
    assert {(one["OMP_NUM_THREADS"], one["GOMP_SPINCOUNT"]) for one in found} == {("1", "0")}
    assert dict(os.environ) == before


def test_a_process_that_dies_is_an_error_with_advice():
    with pytest.raises(MnqError, match="a process ended before its work was done") as caught:
        TWO.map(die, ["a", "b"])

    assert "memory" in caught.value.facts["why"]
    assert TWO.map(shout, ["a"]) == ["A"]


WAITING = """
    import os, sys, time
    from pathlib import Path
    from mnqplugins.executors.joblib import Joblib

    def wait(item):
        Path(item).write_text(str(os.getpid()))
        time.sleep(600)
        return item

    if __name__ == "__main__":
        try:
            Joblib(jobs=2).map(wait, ["one", "two", "three"])
        except KeyboardInterrupt:
            sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("whole_group", [True, False], ids=["as a terminal does", "to the parent alone"])
def test_ctrl_c_ends_the_workers(whole_group, tmp_path):
    tmp_path.joinpath("waiting.py").write_text(textwrap.dedent(WAITING))
    line = [sys.executable, "waiting.py"]
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=own_group_with_ctrl_c)
    workers = [int(until(lambda name=name: read(tmp_path / name))) for name in ("one", "two")]

    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert until(lambda: not any(runs(pid) for pid in workers))
    assert read(tmp_path / "three") == ""


def own_group_with_ctrl_c():
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite in the background would hand down that it is ignored


def until(found, seconds=30.0):
    """Return what `found` says once that is true."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


def read(path):
    return path.read_text() if path.exists() else ""


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_built_in_executors_are_those_tested_here_and_importing_them_is_light():
    found = [one for one in load(environ={"MNQ_LOAD_PLUGINS": ""}).registered if one.kind == "executor"]
    code = "; ".join(f"import {one.load().__module__}" for one in found) + "; import sys; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [one.load() for one in found] == [Serial, Joblib]
    assert {"joblib", "numpy", "torch"} & set(done.stdout.split()) == set()


def test_a_number_of_processes_out_of_range_is_refused():
    with pytest.raises(ValueError, match="jobs must be at least 1, was 0"):
        Joblib(jobs=0)
