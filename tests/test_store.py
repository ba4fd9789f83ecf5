"""The bar store: reading files of any spelling, telling what times mean, refusing what cannot be used."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnqcore import BarRequest
from mnqcore.errors import DataError
from mnqcore.market.bars import HOW, validate
from mnqcore.market.calendar import Calendar
from mnqcore.market.files import Layout, read
from mnqcore.market.instruments import catalogue
from mnqcore.market.store import import_file, manifest_path, read_bars, read_file, sha256, stored
from mnqplugins.data.file import File

MNQ = catalogue()["MNQ"]
FULL = Calendar(MNQ)
MINUTE = pd.Timedelta("1min")
FIVE = pd.Timedelta("5min")


@pytest.fixture(scope="module")
def bars():
    """Three whole sessions of sound five-minute bars, over the spring change of clocks."""
    times = FULL.bar_starts(
        pd.Timestamp("2025-03-06 23:00", tz="UTC"), pd.Timestamp("2025-03-11 20:55", tz="UTC"), FIVE
    )
    generator = np.random.default_rng(3)
    close = 20_000 + np.cumsum(generator.integers(-8, 9, len(times))) * 0.25
    opened = np.roll(close, 1)
    opened[0] = close[0]
    high, low = np.maximum(opened, close) + 0.25, np.minimum(opened, close) - 0.25
    volume = generator.integers(1, 100, len(times)).astype(float)
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume}, index=times)


def write(path, bars, *, time=None, names=None, sep=",", **options):
    """Write bars as CSV with `time` as its first column (ISO if not given)."""
    out = bars.copy()
    out.insert(0, "time", bars.index.strftime("%Y-%m-%d %H:%M:%S") if time is None else time)
    out.rename(columns=names or {}).to_csv(path, index=False, sep=sep, **options)
    return path


def same(found, bars):
    pd.testing.assert_frame_equal(found, bars, check_freq=False)


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d %H:%M",
        "%d.%m.%Y %H:%M:%S.000", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%m/%d/%y %H:%M", "%Y%m%d %H:%M:%S",
    ],
)  # fmt: skip
def test_times_are_read_however_they_are_written(bars, tmp_path, form):
    longer = bars if form.startswith("%Y") else _with_the_20th(bars)
    path = write(tmp_path / "a.csv", longer, time=longer.index.strftime(form))

    same(read(path, Layout()).frame, longer)


def _with_the_20th(bars):
    """Bars with a day above 12, by which the order of dates can be told."""
    late = bars.iloc[:5].set_axis(bars.index[:5] + pd.Timedelta(days=14))
    return pd.concat([bars, late])


@pytest.mark.parametrize("nanoseconds", [1_000_000_000, 1_000_000, 1_000, 1])
def test_counts_since_1970_are_read_in_their_unit(bars, tmp_path, nanoseconds):
    path = write(tmp_path / "a.csv", bars, time=bars.index.asi8 // nanoseconds)

    same(read(path, Layout()).frame, bars)


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01 00:00:00", "9999-12-31 00:00:00", "9999-12-31T00:00:00Z", "2100-01-01 00:00", "1970-12-31 23:59",
        "12/31/9999 10:00", 99_999_999_999, 9_300_000_000_000, 10**18 * 9, "1e30", "1e400",
    ],
)  # fmt: skip
def test_times_of_no_bars_age_are_named_with_their_file(bars, tmp_path, time):
    path = write(tmp_path / "a.csv", bars.iloc[:3], time=[time] * 3)

    with pytest.raises(DataError, match="outside the years 1971 to 2099") as caught:
        read(path, Layout())

    assert caught.value.facts["where"] == str(path)
    if "1e" not in str(time):
        assert caught.value.facts["found"] == f"{time} in row 1 of 3"


def test_one_time_of_no_bars_age_among_sound_ones_is_found(bars, tmp_path):
    times = bars.index.strftime("%Y-%m-%d %H:%M:%S").to_numpy().astype(object)
    times[70] = "9999-01-01 00:00:00"

    with pytest.raises(DataError, match=f"9999-01-01 00:00:00 in row 71 of {len(bars)}"):
        read_file(write(tmp_path / "a.csv", bars, time=times), MNQ)
    late = bars.set_axis(pd.DatetimeIndex(times.astype("M8[us]"), name="time"))
    late.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"9999-01-01 00:00:00 in row 71 of {len(bars)}"):
        read_file(tmp_path / "a.parquet", MNQ)


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_columns_and_separators_are_found(bars, tmp_path, sep):
    names = {"time": "Timestamp", "open": "Open", "high": " HIGH", "low": "l", "close": "<CLOSE>", "volume": "Vol"}
    path = write(tmp_path / "a.csv", bars, names=names, sep=sep)

    rows = read(path, Layout())

    same(rows.frame, bars)
    assert "volume = 'Vol'" in rows.notes[0]


def test_columns_can_be_named(bars, tmp_path):
    names = {"time": "when", "open": "a", "high": "b", "low": "c", "close": "d", "volume": "e"}
    path = write(tmp_path / "a.csv", bars.assign(delta=1.5), names=names)

    rows = read(path, Layout(columns=names, extra=("delta",)))

    same(rows.frame, bars.assign(delta=1.5))


def test_date_and_time_apart_are_put_together(bars, tmp_path):
    out = bars.copy()
    out.insert(0, "<DATE>", bars.index.strftime("%Y%m%d"))
    out.insert(1, "<TIME>", bars.index.strftime("%H:%M:%S"))
    out.to_csv(tmp_path / "a.csv", index=False)

    same(read(tmp_path / "a.csv", Layout()).frame, bars)


def test_a_decimal_comma_is_read(bars, tmp_path):
    path = write(tmp_path / "a.csv", bars, sep=";", decimal=",")

    same(read(path, Layout(decimal=",")).frame, bars)


def test_dates_that_can_be_read_two_ways_are_asked_about(bars, tmp_path):
    path = write(tmp_path / "a.csv", bars, time=bars.index.strftime("%m/%d/%Y %H:%M"))  # 6 to 11 March

    with pytest.raises(DataError, match=r"mnq data import .* --dates day-first \(or month-first\)"):
        read(path, Layout())
    same(read(path, Layout(dates="month-first")).frame, bars)


def test_local_times_are_read_in_their_zone_through_the_change_of_clocks(bars, tmp_path):
    local = bars.index.tz_convert("America/Chicago").strftime("%Y-%m-%d %H:%M")
    path = write(tmp_path / "a.csv", bars, time=local)

    same(read(path, Layout(zone="America/Chicago")).frame, bars)


def test_an_unknown_zone_is_refused(bars, tmp_path):
    with pytest.raises(DataError, match="zone Mars/Olympus"):
        read(write(tmp_path / "a.csv", bars), Layout(zone="Mars/Olympus"))


@pytest.mark.parametrize(
    "text", ["", "\n\n", "time,open\n", "no,such,columns\n1,2,3\n", '"', "a\n1,2\n1,2,3,4\n", "\x00\x01"]
)
def test_what_holds_no_bars_is_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)

    with pytest.raises(DataError):
        read(tmp_path / "a.csv", Layout())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from(["a.csv", "a.csv.gz", "a.parquet"]))
def test_rubbish_is_refused_and_never_crashes(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError):
        read_file(tmp_path / name, MNQ)


def test_a_cut_off_gzip_is_refused(bars, tmp_path):
    write(tmp_path / "a.csv", bars)
    packed = gzip.compress((tmp_path / "a.csv").read_bytes())
    (tmp_path / "b.csv.gz").write_bytes(packed[: len(packed) // 2])

    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_file(tmp_path / "b.csv.gz", MNQ)


def test_stamps_at_the_open_are_starts(bars, tmp_path):
    found = read_file(write(tmp_path / "a.csv", bars), MNQ)

    assert found.stamp == "start"
    assert "3 of 3 session opens and 0 of 3 closes" in found.evidence[-1]
    same(found.bars, bars)


def test_stamps_at_the_close_are_ends_and_become_starts(bars, tmp_path):
    found = read_file(write(tmp_path / "a.csv", bars.set_axis(bars.index + FIVE)), MNQ)

    assert found.stamp == "end"
    assert "0 of 3 session opens and 3 of 3 closes" in found.evidence[-1]
    same(found.bars, bars)


def test_the_shorter_last_bar_of_a_session_begins_on_the_grid(tmp_path):
    starts = FULL.bar_starts(
        pd.Timestamp("2025-06-09 22:00", tz="UTC"), pd.Timestamp("2025-06-12 20:00", tz="UTC"), pd.Timedelta("4h")
    )
    closes = pd.DatetimeIndex([FULL.sessions(start, start)["close"].iloc[0] for start in starts])
    ends = pd.DatetimeIndex(np.minimum(starts + pd.Timedelta("4h"), closes))
    flat = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0), index=ends)

    found = read_file(write(tmp_path / "a.csv", flat), MNQ, size=pd.Timedelta("4h"))

    assert found.stamp == "end"
    assert found.bars.index.tolist() == starts.tolist()


def test_without_evidence_the_stamp_is_asked_for(bars, tmp_path):
    path = write(tmp_path / "a.csv", bars.iloc[20:100])

    with pytest.raises(DataError, match=r'data.stamp = "start" \(or "end"\), or: mnq data import .* --stamp start'):
        read_file(path, MNQ)
    assert read_file(path, MNQ, stamp="end").bars.index[0] == bars.index[19]


def test_bars_at_open_and_close_alike_are_no_evidence(bars, tmp_path):
    spot = bars.iloc[[0]].reindex(pd.date_range(bars.index[0], periods=900, freq="5min"), method="ffill")

    with pytest.raises(DataError, match="it cannot be told"):
        read_file(write(tmp_path / "a.csv", spot), MNQ)


def test_an_import_is_read_back_as_it_was(bars, tmp_path):
    source = write(tmp_path / "in.csv", bars)

    done = import_file(source, tmp_path / "store" / "MNQ.parquet", MNQ)
    found, size = read_bars(done.path, MNQ)

    same(found, bars)
    assert size == FIVE
    manifest = json.loads((tmp_path / "store" / "MNQ.json").read_text())
    assert manifest["source"] == "in.csv"
    assert manifest["source_sha256"] == sha256(source)
    assert manifest["sha256"] == sha256(done.path)
    assert (manifest["stamp"], manifest["bar_size"], manifest["rows"]) == ("start", "5 min", len(bars))
    assert [path for path, _ in stored(tmp_path)] == [done.path]
    assert sorted(path.name for path in done.path.parent.iterdir()) == ["MNQ.json", "MNQ.parquet"]


def test_nothing_is_replaced_unasked(bars, tmp_path):
    source, target = write(tmp_path / "in.csv", bars), tmp_path / "MNQ.parquet"
    import_file(source, target, MNQ)

    with pytest.raises(DataError, match="--force"):
        import_file(source, target, MNQ)
    import_file(write(tmp_path / "in.csv", bars.iloc[:300]), target, MNQ, force=True)
    assert len(read_bars(target, MNQ)[0]) == 300


def test_a_file_that_changed_since_its_import_is_refused(bars, tmp_path):
    done = import_file(write(tmp_path / "in.csv", bars), tmp_path / "MNQ.parquet", MNQ)
    bars.iloc[:300].to_parquet(done.path)

    with pytest.raises(DataError, match="not the one that was imported"):
        read_bars(done.path, MNQ)
    assert isinstance(stored(tmp_path)[0][1], DataError)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', "\x00"])
def test_a_broken_manifest_is_refused(bars, tmp_path, text):
    done = import_file(write(tmp_path / "in.csv", bars), tmp_path / "MNQ.parquet", MNQ)
    manifest_path(done.path).write_text(text)

    with pytest.raises(DataError, match="manifest cannot be read"):
        read_bars(done.path, MNQ)


def test_bars_that_cannot_be_used_are_refused_or_left_out_and_counted(bars, tmp_path):
    bad = bars.copy()
    bad.iloc[40, bad.columns.get_loc("close")] = np.nan
    bad.iloc[41, bad.columns.get_loc("low")] = -5.0
    bad.iloc[42, bad.columns.get_loc("high")] = 1.0
    bad = bad.iloc[[*range(100), 99, *range(100, 200), 201, 200, *range(202, len(bad))]]
    time = bad.index.strftime("%Y-%m-%d %H:%M:%S").to_numpy().astype(object)
    time[300] = "soon"
    path = write(tmp_path / "in.csv", bad, time=time)

    with pytest.raises(DataError, match="1 unreadable, 1 disorder, 1 duplicates, 1 nan, 1 range, 1 negative"):
        import_file(path, tmp_path / "MNQ.parquet", MNQ)
    assert not (tmp_path / "MNQ.parquet").exists()
    done = import_file(path, tmp_path / "MNQ.parquet", MNQ, drop_bad=True)

    assert done.manifest.dropped == dict.fromkeys(
        ("unreadable", "disorder", "duplicates", "nan", "range", "negative"), 1
    )
    same(read_bars(done.path, MNQ)[0], bars.drop(bars.index[[40, 41, 42, 299]]))


def test_text_among_numbers_is_a_missing_value(bars, tmp_path):
    text = bars.astype(object)
    text.iloc[50, text.columns.get_loc("high")] = "twenty thousand"
    path = write(tmp_path / "in.csv", text)

    with pytest.raises(DataError, match="1 nan"):
        import_file(path, tmp_path / "MNQ.parquet", MNQ)


def test_several_contracts_are_stored_apart(bars, tmp_path):
    both = pd.concat([bars.assign(contract="MNQH25"), (bars + 100.0).assign(contract="MNQM25")]).sort_index(
        kind="stable"
    )

    done = import_file(write(tmp_path / "in.csv", both, names={"contract": "Symbol"}), tmp_path / "MNQ.parquet", MNQ)

    assert done.manifest.contracts == ["MNQH25", "MNQM25"]
    same(read_bars(done.path, MNQ)[0], both)


def request(size=FIVE, **options):
    return BarRequest(instrument=MNQ, bar_size=size, **options)


def test_the_file_source_reads_csv_and_the_store_alike(bars, tmp_path):
    source = write(tmp_path / "in.csv", bars)
    done = import_file(source, tmp_path / "MNQ.parquet", MNQ)

    same(File(path=str(source)).bars(request()), bars)
    same(File(path=str(done.path)).bars(request()), bars)


def test_the_file_source_takes_stamps_by_the_users_word(bars, tmp_path):
    path = str(write(tmp_path / "in.csv", bars.set_axis(bars.index + FIVE)))

    same(File(path=path, stamp="end").bars(request()), bars)
    same(File(path=path, stamp="auto").bars(request()), bars)
    assert File(path=path).bars(request()).index[0] == bars.index[0] + FIVE


def test_the_file_source_makes_larger_bars_and_no_smaller_ones(bars, tmp_path):
    path = str(write(tmp_path / "in.csv", bars.assign(delta=1.0, depth=2.0)))

    larger = File(path=path, columns=("delta:sum", "depth")).bars(request(pd.Timedelta("15min")))

    validate(larger)
    assert larger["volume"].sum() == bars["volume"].sum()
    assert larger["delta"].tolist()[:3] == [3.0] * 3
    assert larger["depth"].tolist()[:3] == [2.0] * 3
    for size in ("1min", "12min"):
        with pytest.raises(DataError, match="do not make up bars of the size asked for"):
            File(path=path).bars(request(pd.Timedelta(size)))


def test_the_file_source_cuts_and_keeps_to_the_cash_session(bars, tmp_path):
    path = str(write(tmp_path / "in.csv", bars))
    ten = pd.Timestamp("2025-03-10", tz="UTC")

    cut = File(path=path, start="2025-03-07", end="2025-03-11").bars(request(start=ten))
    cash = File(path=path).bars(request(session="rth"))

    same(cut, bars[(bars.index >= ten) & (bars.index < ten + pd.Timedelta(days=1))])
    assert len(cash) == 3 * 78
    assert cash.index[0] == pd.Timestamp("2025-03-07 08:30", tz="America/Chicago")


def test_the_file_source_refuses_what_it_cannot_do(bars, tmp_path):
    path = str(write(tmp_path / "in.csv", bars))

    with pytest.raises(DataError, match="no such file"):
        File(path=str(tmp_path / "none.csv")).bars(request())
    with pytest.raises(DataError, match="no bar in the period"):
        File(path=path, start="2026-01-01").bars(request())
    with pytest.raises(DataError, match="no end to count back from"):
        File(path=path).bars(request(duration="1 Y"))
    with pytest.raises(DataError, match="no column depth"):
        File(path=path, columns=("depth",)).bars(request())
    with pytest.raises(ValueError, match="start must be a date"):
        File(path=path, start="last year")


def test_the_file_source_refuses_bad_bars(bars, tmp_path):
    bad = bars.copy()
    bad.iloc[40, bad.columns.get_loc("high")] = 1.0

    with pytest.raises(DataError, match="1 range"):
        File(path=str(write(tmp_path / "in.csv", bad))).bars(request())
    bad.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(DataError, match="1 range"):
        File(path=str(tmp_path / "in.parquet")).bars(request())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (".", "this is a directory, not a file"),
        ("..", "this is a directory, not a file"),
        ("/", "this is a directory, not a file"),
        ("folder.parquet", "this is a directory, not a file"),
        ("~nobody-of-this-name/bars.csv", "no such file"),
        ("b" * 300 + ".parquet", "no such file"),
        ("a\0b.csv", "no such file"),
    ],
)
def test_what_is_no_file_is_told(tmp_path, monkeypatch, path, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "folder.json").write_text("{}")

    with pytest.raises(DataError, match=says) as caught:
        File(path=path).bars(request())

    assert caught.value.facts["where"] == path


@pytest.mark.parametrize("path", ["", "  "])
def test_an_empty_path_is_no_path(path):
    with pytest.raises(ValueError, match="path must name a file"):
        File(path=path)


def test_columns_are_resampled_in_a_known_way():
    with pytest.raises(ValueError, match="'delta:average' must end in one of " + ", ".join(HOW)):
        File(path="a.csv", columns=("delta:average",))


def test_every_error_of_the_file_source_names_the_file_and_no_option_of_another_command_alone(bars, tmp_path):
    bad = bars.copy()
    bad.iloc[40, bad.columns.get_loc("high")] = 1.0
    early = pd.date_range("1971-01-02", periods=5, freq="5min")
    texts = {
        "bad.csv": write(tmp_path / "bad.csv", bad),
        "one.csv": write(tmp_path / "one.csv", bars.iloc[:1]),
        "middle.csv": write(tmp_path / "middle.csv", bars.iloc[20:100]),
        "early.csv": write(tmp_path / "early.csv", bars.iloc[:5], time=early),
        "names.csv": write(tmp_path / "names.csv", bars, names={"open": "bid"}),
        "dates.csv": write(tmp_path / "dates.csv", bars, time=bars.index.strftime("%m/%d/%Y %H:%M")),
        "zone.csv": write(tmp_path / "zone.csv", bars),
        "rubbish.parquet": tmp_path / "rubbish.parquet",
        "none.csv": tmp_path / "none.csv",
    }  # fmt: skip
    texts["rubbish.parquet"].write_text("rubbish")
    stamps, zones = {"middle.csv": "auto"}, {"zone.csv": "Mars/Olympus"}

    for name, path in texts.items():
        source = File(path=str(path), stamp=stamps.get(name, "start"), zone=zones.get(name, "UTC"))
        with pytest.raises(DataError) as caught:
            source.bars(request())
        facts = caught.value.facts
        assert facts["where"] == str(path), name
        assert "--" not in facts.get("next", "").partition("mnq data import FILE --to ")[0], name


def test_sizes_are_shown_as_they_are_written(bars, tmp_path):
    path = write(tmp_path / "in.csv", bars)

    with pytest.raises(DataError, match="5 min, asked for 30 sec"):
        File(path=str(path)).bars(request(pd.Timedelta("30s")))
