"""Looks at test windows: none is lost, none counts twice, and a broken line spoils no other."""

import json
import logging
import statistics
import subprocess
import sys

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.errors import MnqError
from mnqcore.runs.looks import FILE, RULE, Look, Tally, note, tally

DATA = "d" * 64
FIRST, LAST = "2024-05-01T00:00:00+00:00", "2024-06-28T20:55:00+00:00"
LOOK = Look(
    strategy="one", digest="0" * 64, model="m", data_sha256=DATA, first=FIRST, last=LAST, sharpe=0.05, days=40,
    run="one/20240701T000000Z-00000000",
)  # fmt: skip
WRITER = """
import sys
import attrs
from mnqcore.runs.looks import Look, note

for number in range(int(sys.argv[3])):
    note(sys.argv[1], Look(
        strategy="s" * 40 + sys.argv[2], digest=f"{sys.argv[2]}-{number}", model="rule", data_sha256="d" * 64,
        first="2024-05-01T00:00:00+00:00", last="2024-06-28T20:55:00+00:00", sharpe=number / 7, days=40, run="r" * 200,
    ))
"""


def counted(base, first=FIRST, last=LAST, data=DATA):
    return tally(base, data, first, last)


def test_nothing_was_looked_at_yet(tmp_path):
    assert counted(tmp_path) == counted(tmp_path / "nowhere") == Tally(count=0, strategies=0, trials=0, spread=None)


def test_a_look_is_a_line_with_its_time(tmp_path):
    note(tmp_path / "runs", LOOK)

    (line,) = (tmp_path / "runs" / FILE).read_text().splitlines()
    document = json.loads(line)
    assert document.pop("time").endswith("+00:00")
    assert document == attrs.asdict(LOOK)
    assert counted(tmp_path / "runs") == Tally(count=1, strategies=1, trials=1, spread=None)


def test_repeating_a_run_is_a_look_but_no_trial(tmp_path):
    for _ in range(3):
        note(tmp_path, LOOK)
    note(tmp_path, attrs.evolve(LOOK, run="another", strategy="renamed"))

    assert counted(tmp_path) == Tally(count=4, strategies=2, trials=1, spread=None)


def test_another_model_or_digest_is_another_trial(tmp_path):
    ratios = [0.05, -0.02, 0.11]
    for look, ratio in zip(
        (LOOK, attrs.evolve(LOOK, model="n"), attrs.evolve(LOOK, digest="1" * 64, model=RULE)), ratios, strict=True
    ):
        note(tmp_path, attrs.evolve(look, sharpe=ratio))
    note(tmp_path, attrs.evolve(LOOK, digest="2" * 64, sharpe=None))

    assert counted(tmp_path) == Tally(count=4, strategies=1, trials=4, spread=statistics.stdev(ratios))


@pytest.mark.parametrize(
    ("first", "last", "seen"),
    [
        (FIRST, LAST, True),
        ("2024-01-01T00:00:00+00:00", FIRST, True),
        (LAST, "2025-01-01T00:00:00+00:00", True),
        ("2024-05-20T00:00:00+00:00", "2024-05-21T00:00:00+00:00", True),
        ("2024-01-01T00:00:00+00:00", "2024-04-30T23:55:00+00:00", False),
        ("2024-06-28T21:00:00+00:00", "2025-01-01T00:00:00+00:00", False),
        ("2024-04-30T20:00:00-05:00", "2024-04-30T20:05:00-05:00", True),
    ],
)
def test_windows_that_overlap_count(first, last, seen, tmp_path):
    note(tmp_path, LOOK)

    assert counted(tmp_path, first, last).count == int(seen)
    assert counted(tmp_path, first, last, "e" * 64).count == 0


@pytest.mark.parametrize(
    "broken",
    [b"{", b"[]", b"null", b"\xff\xfe\x00", b"{}", b"[" * 20_000, b'{"time": 1',
     json.dumps({**attrs.asdict(LOOK), "first": "yesterday"}).encode(),
     json.dumps({**attrs.asdict(LOOK), "last": "2024-05-01T00:00:00"}).encode(),
     json.dumps({**attrs.asdict(LOOK), "sharpe": float("nan")}).encode(),
     json.dumps({**attrs.asdict(LOOK), "sharpe": "0.1"}).encode(),
     json.dumps({**attrs.asdict(LOOK), "days": 1.5}).encode(),
     json.dumps({**attrs.asdict(LOOK), "strategy": None}).encode()],
)  # fmt: skip
def test_a_broken_line_is_left_out_and_told(broken, tmp_path, caplog):
    note(tmp_path, LOOK)
    with (tmp_path / FILE).open("ab") as file:
        file.write(broken)  # without a newline: as a killed process leaves it
    note(tmp_path, attrs.evolve(LOOK, model="n"))

    with caplog.at_level(logging.WARNING):
        found = counted(tmp_path)

    assert (found.count, found.trials, found.broken) == (2, 2, 1)
    assert "1 line cannot be read" in caplog.text


def test_a_line_of_a_later_version_may_say_more(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({**attrs.asdict(LOOK), "more": [1]}) + "\n\n")

    assert counted(tmp_path) == Tally(count=1, strategies=1, trials=1, spread=None)


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_around_a_look_never_hides_it(tmp_path_factory, before, after):
    base = tmp_path_factory.mktemp("runs")
    (base / FILE).write_bytes(before)
    note(base, LOOK)
    with (base / FILE).open("ab") as file:
        file.write(after)

    assert counted(base).count == 1


def test_a_place_that_cannot_be_written_is_an_error_of_the_tree(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(MnqError, match="cannot be noted"):
        note(tmp_path / "file", LOOK)
    (tmp_path / FILE).mkdir()
    with pytest.raises(MnqError, match="cannot be"):
        note(tmp_path, LOOK)
    with pytest.raises(MnqError, match="cannot be read"):
        counted(tmp_path)


def test_a_ratio_that_is_no_number_is_a_bug_that_shows(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        note(tmp_path, attrs.evolve(LOOK, sharpe=float("nan")))


def test_processes_that_note_at_once_lose_nothing(tmp_path):
    each, writers = 200, 4
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(number), str(each)])
        for number in range(writers)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * writers

    found = counted(tmp_path)

    assert found == Tally(
        count=each * writers, strategies=writers, trials=each * writers,
        spread=statistics.stdev([number / 7 for number in range(each)] * writers),
    )  # fmt: skip
    # Who finds a line half written begins a new one: an empty line may come of that, and means nothing.
    assert sum(1 for line in (tmp_path / FILE).read_bytes().splitlines() if line) == each * writers
