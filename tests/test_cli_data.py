"""`mnq data`: check, import and list, called in this process."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mnqcore.cli.context import Context
from mnqcore.cli.data import data
from mnqcore.errors import DataError, UsageError
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue


@pytest.fixture
def source(tmp_path):
    """Two sessions of five-minute bars as CSV, one of them missing."""
    start, end = (pd.Timestamp(text, tz="UTC") for text in ("2025-06-09 22:00", "2025-06-11 20:55"))
    times = Calendar(catalogue()["MNQ"]).bar_starts(start, end, pd.Timedelta("5min")).delete(100)
    price = 20_000 + 0.25 * np.arange(len(times))
    bars = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=times)
    bars.to_csv(tmp_path / "bars.csv")
    return tmp_path / "bars.csv"


def invoke(*arguments, form="table"):
    """Run `mnq data`; errors meant for the user come out as they are, for `main` to show."""
    done = CliRunner().invoke(data, [str(argument) for argument in arguments], obj=Context(format=form))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_check_counts_what_is_wrong(source):
    done = invoke("check", source, "--instrument", "MNQ")

    assert done.exit_code == 0
    assert "551 bars of 5 min, 2025-06-09 22:00 .. 2025-06-11 20:55 UTC" in done.stdout
    assert "552 expected" in done.stdout
    assert "1  holes" in done.stdout
    assert "stamps are bar starts" in " ".join(done.stdout.split())
    assert all(len(line) <= 80 and line.isascii() for line in done.stdout.splitlines()[1:])


def test_check_prints_json(source):
    record = json.loads(invoke("check", source, "--instrument", "MNQ", form="json").stdout)

    assert record["schema"] == "mnq.data.check/1"
    assert record["findings"]["holes"]["count"] == 1
    assert (record["bars"], record["expected"], record["fatal"]) == (551, 552, False)


def test_check_shows_the_findings_of_bad_bars_and_fails(source):
    source.write_text(source.read_text() + "2025-06-11 20:55:00+00:00,1,1,2,1,1\n")

    done = CliRunner().invoke(data, ["check", str(source), "--instrument", "MNQ"], obj=Context())

    assert isinstance(done.exception, DataError)
    assert "FATAL         1  duplicates" in done.stdout
    assert "FATAL         1  range" in done.stdout


def test_an_import_is_listed_and_checked_without_naming_its_instrument(source, tmp_path):
    target = tmp_path / "store" / "MNQ_5m.parquet"

    imported = invoke("import", source, "--to", target, "--instrument", "MNQ")
    listed = invoke("list", target.parent)
    checked = invoke("check", target)

    assert f"wrote {target}  551 bars" in imported.stdout
    assert listed.stdout.splitlines()[1].split() == [
        "MNQ_5m.parquet",
        "MNQ",
        "5",
        "min",
        "551",
        "2025-06-09",
        "2025-06-11",
    ]
    assert "from bars.csv (stamp start)" in checked.stdout


def test_import_and_list_print_json(source, tmp_path):
    target = tmp_path / "MNQ.parquet"

    imported = json.loads(invoke("import", source, "--to", target, "--instrument", "MNQ", form="json").stdout)
    listed = json.loads(invoke("list", tmp_path, form="json").stdout)

    assert imported["manifest"]["rows"] == 551
    assert listed["files"][0]["sha256"] == imported["manifest"]["sha256"]


def test_list_names_a_file_that_changed(source, tmp_path):
    target = tmp_path / "MNQ.parquet"
    invoke("import", source, "--to", target, "--instrument", "MNQ")
    target.write_bytes(target.read_bytes() + b"x")

    assert "not the one that was imported" in invoke("list", tmp_path).stdout


def test_options_say_how_a_file_is_laid_out(source, tmp_path):
    text = source.read_text().replace("time,open,high,low,close,volume", "when;a;b;c;d;e").replace(",", ";")
    source.write_text(text.replace("+00:00", ""))
    names = ["--time", "when", "--open", "a", "--high", "b", "--low", "c", "--close", "d", "--volume", "e"]
    laid_out = [*names, "--sep", ";", "--zone", "UTC", "--stamp", "start", "--bar-size", "5 mins"]

    done = invoke("import", source, "--to", tmp_path / "a.parquet", "--instrument", "MNQ", *laid_out)

    assert "551 bars" in done.stdout


def test_bad_rows_are_left_out_when_asked(source, tmp_path):
    source.write_text(source.read_text() + "2025-06-11 20:55:00+00:00,1,1,1,1,1\n")
    arguments = ["import", source, "--to", tmp_path / "a.parquet", "--instrument", "MNQ"]

    with pytest.raises(DataError, match="1 duplicates"):
        invoke(*arguments)
    assert "set right: 1 duplicates" in invoke(*arguments, "--drop-bad").stdout


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["check", "none.csv", "--instrument", "MNQ"], DataError, "no such file"),
        (["check", "none.csv"], UsageError, "--instrument"),
        (["check", "", "--instrument", "MNQ"], DataError, "directory, not a file"),
        (["import", ".", "--to", "a.parquet", "--instrument", "MNQ"], DataError, "directory, not a file"),
        (["check", "none.csv", "--instrument", "MNX"], UsageError, "did you mean 'MNQ'"),
        (["check", "none.csv", "--instrument", "MNQ", "--bar-size", "five"], DataError, "not a bar size"),
        (["import", "none.csv", "--to", "a.csv", "--instrument", "MNQ"], DataError, "parquet"),
        (["list", "nowhere"], DataError, "no such directory"),
    ],
)
def test_what_cannot_be_done_is_told(arguments, error, says):
    with pytest.raises(error, match=says):
        invoke(*arguments)


def test_an_empty_folder_lists_nothing(tmp_path):
    done = invoke("list", tmp_path)

    assert done.stdout == ""
    assert "no imported files" in done.stderr
