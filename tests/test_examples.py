"""The examples: each of them runs, does what it says, and would pass for a built-in piece."""

import importlib
import logging
import textwrap
from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import pytest
import torch

import mnqcore
from mnqcore import BarRequest, Calendar, Entry, MarketView, ObservationSpec, Step, causality, strategy
from mnqcore.hookspecs import HOOK_KINDS, OBSERVERS
from mnqcore.market.instruments import catalogue
from mnqcore.plugins import load
from mnqcore.stages.options import Options
from mnqcore.stages.trade import trade
from mnqcore.stages.verify import verify
from mnqcore.trading.journal import Journal

FOLDER = Path(__file__).parents[1] / "examples" / "one-file"
FILE = FOLDER / "strategies.toml"
ALONE = ["steady", "swing", "calm", "wicks", "streak", "sawtooth"]
LEARNING = ["shapes", "pool", "climb"]
MNQ = catalogue()["MNQ"]
SECONDS = """
format = 1
[instrument.NIGHT]
tick_size = 0.25
tick_value = 0.5
margin = 100.0
calendar = "24/7"
timezone = "UTC"
day_start = "00:00"
[strategy.tick]
instrument = "NIGHT"
bar_size = "1 sec"
session = { flat_by_close = false }
data = { use = "ticker", count = 5 }
agent = { use = "every-other" }
trade.broker = { use = "refusal", why = "not today" }
trade.account = "A1"
trade.on_exit = "leave"
"""


def plugins(*names):
    return load([str(FOLDER / f"{name}.py") for name in names], environ={"MNQ_LOAD_PLUGINS": ""})


def piece(name, **parameters):
    """Return an instance of the piece that the example of this name registers."""
    (own,) = [one for one in plugins(name).registered if one.name == name]
    return own.load()(**parameters)


def view_of(columns):
    bars = pd.DataFrame(columns, dtype=float)
    two, size = pd.Series(2.0, index=bars.index), pd.Timedelta("5min")
    return MarketView(bars=bars, factor=two, instrument=MNQ, calendar=Calendar(MNQ), bar_size=size)


def filled(cls, **values):
    """A value object with zeros where the test does not care."""
    return cls(**{field.name: np.zeros(2, dtype=np.int64) for field in attrs.fields(cls)} | values)


@pytest.mark.parametrize("name", ALONE)
def test_an_example_runs_with_its_own_file_alone(name, tmp_path):
    changes = {"data.last": "2025-01-15"} if name == "sawtooth" else {"data.days": 8}

    result = mnqcore.run(FILE, name, set=changes, plugins=plugins(name), runs_dir=tmp_path)

    used = {one["distribution"] for one in result.run.manifest["plugins"].values()}
    assert used == {"mnq", f"mnq-local-{name}"}
    assert result.metrics["trades"]["count"] > 0
    assert [path.name for path in result.run.plugin_files] == [f"{name}.py"]


@pytest.mark.parametrize(
    ("name", "seeds"), [("shapes", 1), ("climb", 1), pytest.param("pool", 2, marks=pytest.mark.proof)]
)
def test_an_example_trains_with_its_own_file_alone(name, seeds, tmp_path):
    little = {"agent.rounds": 2} if name == "climb" else {"agent.timesteps": 256, "agent.n_steps": 32}
    changes = {"data.days": 15, **little}

    result = mnqcore.run(
        FILE, name, "train,backtest", changes, plugins=plugins(name), runs_dir=tmp_path, options=Options(seeds=seeds)
    )

    assert [path.name for path in result.run.plugin_files] == [f"{name}.py"]
    assert len(result.metrics["learning"]["seeds"]) == seeds
    assert result.metrics["learning"]["actions"]["bars"] > 0


def test_all_together_are_watched_and_can_be_repeated(tmp_path, caplog):
    everything = plugins(*ALONE, "watch_losses")
    with caplog.at_level(logging.INFO):
        result = mnqcore.run(FILE, "together", set={"data.days": 12}, plugins=everything, runs_dir=tmp_path)
        everything.alert(result.run, "warning", "look here")

    lost = int((result.trades["net"] < -500).sum())
    levels = [record.levelname for record in caplog.records if "watch_losses" in record.name]
    assert lost > 0
    assert levels == ["INFO", *["WARNING"] * lost, "INFO", "WARNING"]
    assert caplog.messages[-1] == "warning: look here"
    assert result.metrics["reward"]["name"] == "steady"
    assert list(result.features.columns) == ["wicks.upper", "wicks.lower"]
    assert all(level.equal for level in verify(result.run))


def test_refusal_refuses_what_a_session_sends(tmp_path):
    (tmp_path / "s.toml").write_text(SECONDS)
    found = load([str(FOLDER / "refusal.py"), str(Path(__file__).with_name("wall_clock.py"))])

    traded = trade(strategy.load(tmp_path / "s.toml", None, found), found, tmp_path, Options(mode="paper"))

    assert traded.run is not None
    with Journal.read(traded.run.path / "journal.sqlite") as journal:
        events = [(event.kind, event.data) for event in journal.events()]
    heard = [(data["type"], data["why"]) for kind, data in events if kind == "event"]
    assert traded.why == "the bars ended"
    assert heard[:2] == [("Rejected", "not today")] * 2  # the entry, and its stop
    assert set(heard) == {("Rejected", "not today")}


def test_the_whole_file_is_sound_and_each_example_has_a_strategy():
    found = strategy.check(FILE, plugins(*ALONE, *LEARNING))

    assert [one.name for one in found] == [*ALONE, *LEARNING, "together"]
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted([*ALONE, *LEARNING, "refusal", "watch_losses"])


def test_every_hook_has_an_example():
    found = plugins(*ALONE, *LEARNING, "refusal", "watch_losses")

    assert {one.kind for one in found.registered if one.distribution != "mnq"} == {*HOOK_KINDS.values()}
    assert found.observed == set(OBSERVERS)
    assert found.broken == []


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("wicks", lambda made, view: made.compute(view)),
        ("streak", lambda made, view: made.signals(view).astype(float)),
        ("swing", lambda made, view: made.levels(view)),
        ("calm", lambda made, view: made.prepare(view)),
    ],
)
def test_no_example_looks_ahead_and_each_warm_up_is_true(name, asked, make_view):
    made = piece(name)

    assert causality.check(lambda view: asked(made, view), make_view(days=6), made.warmup) == []


def test_steady_takes_off_a_share_of_the_surprise():
    steady = piece("steady", memory=2, weight=0.5)
    steady.reset(np.array([True, True]))
    step = filled(Step, equity_change=np.array([8.0, 0.0]))

    # surprise 8, average 4; then 4, average 6; forgotten: 8 again
    assert steady(step).tolist() == [4.0, 0.0]
    assert steady(step).tolist() == [6.0, 0.0]
    steady.reset(np.array([True, False]))
    assert steady(step).tolist() == [4.0, 0.0]


def test_swing_stands_behind_the_farther_side_in_raw_price():
    view = view_of({"high": [104, 106, 103, 103], "low": [98, 101, 103, 103], "close": [100, 105, 103, 103]})

    levels = piece("swing", bars=2, reward=3.0).levels(view)

    # farther of (105 - 98, 106 - 105), (103 - 101, 106 - 103), and a tick where nothing moved; the view is twice raw
    assert levels["stop"].tolist()[1:] == [3.5, 1.5, 0.25]
    assert levels["target"].tolist()[1:] == [10.5, 4.5, 0.75]
    assert np.isnan(levels["stop"][0])


def test_calm_takes_one_contract_in_tall_bars():
    view = view_of({"high": [102, 102, 108], "low": [100, 100, 100], "close": [100, 100, 100]})
    calm = piece("calm", bars=2, contracts=5, limit=1.5)

    assert calm.prepare(view).tolist()[1:] == pytest.approx([1.0, 8 / 5])
    assert calm(filled(Entry, signal=np.array([1.0, 1.6]))).tolist() == [5, 1]


def test_wicks_are_shares_of_the_range():
    view = view_of({"open": [101, 100], "high": [104, 100], "low": [100, 100], "close": [102, 100]})

    assert piece("wicks", bars=1).compute(view).to_numpy().tolist() == [[0.5, 0.25], [0.0, 0.0]]


def test_streak_follows_rows_of_closes():
    view = view_of({"close": [1, 2, 3, 3, 2, 1]})

    assert piece("streak", bars=2).signals(view).tolist() == [0, 0, 1, 0, 0, 2]


def test_shapes_are_found_where_they_fit_best():
    spec = ObservationSpec(lookback=4, n_features=1, names=("close",))
    network = piece("shapes", shapes=1, length=2).build(spec)
    weights = {"slide.weight": torch.tensor([[[-1.0, 1.0]]]), "slide.bias": torch.zeros(1)}
    network.load_state_dict(weights)  # it looks for the steepest rise
    rows = torch.tensor([[0.0], [1.0], [5.0], [4.0], [3.0], [6.0], [2.0]])

    windows = rows.unfold(0, 4, 1).transpose(1, 2)

    assert network(windows).tolist() == [[4.0], [4.0], [3.0], [3.0]]
    assert torch.equal(network.encode_series(rows), network(windows))


def test_a_shape_is_cut_to_the_window():
    spec = ObservationSpec(lookback=3, n_features=2, names=("one", "two"))

    assert piece("shapes", shapes=5, length=50).build(spec)(torch.zeros(7, 3, 2)).shape == (7, 5)


def test_pool_keeps_the_order():
    assert piece("pool", processes=2).map(textwrap.dedent, ["  a", " b", "c"]) == ["a", "b", "c"]


def test_sawtooth_rises_and_falls():
    request = BarRequest(instrument=MNQ, bar_size=pd.Timedelta("5min"))

    bars = piece("sawtooth", first="2025-01-06", last="2025-01-07", half=3, step=4).bars(request)

    assert (bars["close"] - 20_000).head(7).tolist() == [1.0, 2.0, 3.0, 2.0, 1.0, 0.0, 1.0]
    assert (bars["open"].iloc[1:].to_numpy() == bars["close"].iloc[:-1].to_numpy()).all()
    with pytest.raises(mnqcore.DataError, match="no bar"):
        piece("sawtooth", first="2025-01-04", last="2025-01-04").bars(request)


def test_the_package_registers_what_its_readme_names(monkeypatch):
    package = FOLDER.parent / "mnq-patience"
    monkeypatch.syspath_prepend(str(package))
    registered = []
    for name, hook in vars(importlib.import_module("mnq_patience")).items():
        if name in HOOK_KINDS:
            hook(lambda piece_name, _target: registered.append(piece_name))

    readme = (package / "README.md").read_text() + (package / "strategies.toml").read_text()
    assert sorted(registered) == ["efficiency", "fading", "grow", "patience", "room"]
    assert all(f'"{name}"' in readme for name in registered)
