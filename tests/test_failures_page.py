"""The page of failures names every one of them, and tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
WAITS = "waits for the Interactive Brokers adapter"
ROW = re.compile(r"^\| (F\d\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "failures.md").read_text(encoding="utf-8"))


def test_every_failure_stands_there_once():
    assert [row[0] for row in ROWS] == [f"F{number:02d}" for number in range(1, 68)]


def test_each_names_a_test_that_is_there_or_says_what_it_waits_for():
    for failure, _what, _then, shown in ROWS:
        found = re.fullmatch(r"`(tests/test_\w+\.py)::(test_\w+)`", shown)
        assert found or shown == WAITS, failure
        if found:
            text = (ROOT / found[1]).read_text(encoding="utf-8")
            assert re.search(rf"def {found[2]}\(", text), f"{failure}: {shown}"


def test_a_scenario_has_its_row():
    """Whatever test begins with the id of a failure, its row does not say that it waits."""
    waiting = {row[0].lower() for row in ROWS if row[3] == WAITS}
    for file in (ROOT / "tests").glob("test_*.py"):
        for name in re.findall(r"def test_((?:f\d\d_)+)", file.read_text(encoding="utf-8")):
            assert waiting.isdisjoint(name.strip("_").split("_")), f"{file.name}: {name}"
