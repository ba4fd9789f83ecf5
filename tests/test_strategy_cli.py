"""`mnq check`, `mnq show` and `mnq schema` from the command line."""

import json

import pytest
import tomli

from mnqcore.cli import main

GOOD = """\
format = 1
[defaults]
data = { use = "synthetic", days = 30 }
[strategy.cross]
summary = "two averages"
agent = { use = "sma-cross", fast = 20, slow = 50 }
features.moves = { use = "returns" }
[strategy.other]
extends = "cross"
seed = 3
"""


@pytest.fixture
def mnq(tmp_path, monkeypatch, capsys):
    """Run a command in a folder with a good file and a bad one; return code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNQ_LOAD_PLUGINS", "")
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(GOOD.replace("fast = 20", "fats = 20").replace("seed = 3", "seed = -3"))

    def run(*arguments):
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


def test_check_prints_a_line_a_strategy(mnq):
    code, out, err = mnq("check", "good.toml")

    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert out.startswith("good.toml: 2 strategies ok\n")
    assert " ".join(lines[2]) == "cross MNQ 5 min synthetic sma-cross fixed fixed moves"
    assert lines[3][0] == "other"
    assert lines[-1][:2] == ["not", "checked:"]


def test_check_of_one_strategy(mnq):
    _, out, _ = mnq("check", "good.toml", "-s", "other")

    assert out.startswith("good.toml: 1 strategy ok\n")
    assert "cross " not in out.replace("sma-cross", "")


def test_check_reports_every_error_on_stderr_with_exit_3(mnq):
    code, out, err = mnq("check", "bad.toml")

    assert (code, out) == (3, "")
    assert err.startswith("bad.toml:6:30: error: unknown parameter 'fats' for agent 'sma-cross'")
    assert "bad.toml:10:8: error: seed must be at least 0, was -3" in err
    assert "2 errors; nothing was run." in err


def test_check_of_a_name_that_is_not_there_is_a_usage_error(mnq):
    code, _, err = mnq("check", "good.toml", "-s", "crss")

    assert code == 2
    assert "did you mean 'cross'?" in err


def test_check_as_json(mnq):
    code, out, _ = mnq("--format", "json", "check", "good.toml")
    good = json.loads(out)
    assert (code, good["schema"], good["findings"]) == (0, "mnq.check/1", [])
    assert good["strategies"][1]["use"]["features.moves"] == "returns"

    code, out, err = mnq("--format", "json", "check", "bad.toml")
    bad = json.loads(out)
    assert (code, err, bad["strategies"]) == (3, "", [])
    assert bad["findings"][1] == {
        "message": "seed must be at least 0, was -3",
        "where": "bad.toml",
        "line": 10,
        "column": 8,
        "width": 2,
        "key": "strategy.other.seed",
        "hint": "seed: of training, bootstrap and random baseline; plugins have their own",
    }


def test_show_prints_a_complete_file(mnq, tmp_path):
    code, out, err = mnq("show", "good.toml", "-s", "other")

    assert (code, err) == (0, "")
    assert "#" not in out
    strategy = tomli.loads(out)["strategy"]["other"]
    assert (strategy["seed"], strategy["agent"]["fast"], strategy["risk"]["max_position"]) == (3, 20, 1)
    (tmp_path / "shown.toml").write_text(out)
    assert mnq("show", "shown.toml")[1] == out


def test_show_with_origins(mnq):
    _, out, _ = mnq("show", "good.toml", "-s", "other", "--origin")

    assert "seed = 3  # good.toml:10" in out
    assert "fast = 20  # good.toml:6" in out
    assert "days = 30  # good.toml:3" in out
    assert "max_position = 1  # default" in out


def test_show_as_json(mnq):
    _, out, _ = mnq("show", "good.toml", "-s", "other", "--origin", "--format", "json")

    shown = json.loads(out)
    assert (shown["schema"], shown["name"], shown["values"]["agent"]["slow"]) == ("mnq.strategy/1", "other", 50)
    assert shown["origins"]["seed"] == "good.toml:10"


def test_show_without_a_name_lists_them(mnq):
    code, _, err = mnq("show", "good.toml")

    assert code == 2
    assert "cross, other" in err


def test_schema_is_printed_or_written(mnq, tmp_path):
    code, out, _ = mnq("schema")
    assert code == 0
    assert json.loads(out)["title"] == "mnq strategy file"

    assert mnq("schema", "--write")[0] == 0
    assert (tmp_path / "mnq.schema.json").read_text() == out
    assert mnq("schema", "--write", "own.json")[1].startswith("own.json: write #:schema ./own.json as the first line")
    assert (tmp_path / "own.json").read_text() == out


def test_schema_that_cannot_be_written_is_a_usage_error(mnq):
    code, _, err = mnq("schema", "--write", "no/such/folder/x.json")

    assert code == 2
    assert "cannot write no/such/folder/x.json" in err
