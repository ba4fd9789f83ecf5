"""Learners that see feeds: a window that lacks a feed's bar is not seen, in training as in a backtest."""

import json

import numpy as np
import pytest

from mnqcore import Options, run
from mnqcore.api.values import Action, Window
from mnqcore.env.accounts import Accounts
from mnqcore.errors import DataError, PluginError, UsageError
from mnqcore.plugins import load
from mnqcore.stages.ground import ground
from mnqcore.stages.prepare import prepare
from mnqcore.strategy import load as load_strategy
from tests.grounds import LOOKBACK, arena_of_seed
from tests.tiny import STRATEGY

FED = STRATEGY.replace(
    "lookback",
    """feeds.hourly = { bar_size = "1 hour" }
feeds.es = { instrument = "ES", bar_size = "15 min", data = { use = "synthetic", days = 30, seed = 3, holes = 90.0 } }
features.hours = { use = "returns", on = "hourly", horizons = [1, 3] }
features.es = { use = "returns", on = "es", horizons = [1] }
lookback""",
)
SETTINGS = ["agent.timesteps=1024", "agent.checkpoint=512"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fed")
    (folder / "s.toml").write_text(FED)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return run(folder / "s.toml", stages="train,backtest", set=SETTINGS, runs_dir=folder / "runs")


@pytest.fixture(scope="module")
def on(folder):
    return ground(prepare(load_strategy(folder / "s.toml", None, load()), look=False))


def test_a_model_is_not_asked_where_its_window_lacks_a_feed_and_the_run_counts_it(trained, on):
    features = on.prepared.tape.features.to_numpy(np.float64)
    window = on.folds[0].test
    lacking = [
        not np.isfinite(features[bar - 7 : bar + 1]).all() for bar in range(window.first, window.last)
    ]  # a window of 8

    actions = trained.metrics["learning"]["actions"]
    assert actions["blind"] == sum(lacking) > 20
    assert actions["bars"] == len(lacking) - sum(lacking)
    decided = on.prepared.market.times.get_indexer(trained.trades["entry_time"]) - 1
    assert len(decided) > 5
    assert not np.array(lacking)[decided - window.first].any()


def test_a_models_probe_holds_what_is_on_its_feeds_and_names_them(trained):
    folder = trained.run.path / "model"
    names = list(json.loads((folder / "probe.json").read_text())["columns"])
    manifest = json.loads((folder / "manifest.json").read_text())

    assert [name for name in names if name.startswith(("hours.", "es."))] == [
        "hours.ret_1", "hours.ret_3", "hours.range", "hours.body", "es.ret_1", "es.range", "es.body",
    ]  # fmt: skip
    assert manifest["features"]["hours"]["on"] == "hourly"
    assert {name: feed["bar_size"] for name, feed in manifest["feeds"].items()} == {"hourly": "1 hour", "es": "15 min"}
    assert manifest["feeds"]["es"]["instrument"]["name"] == "ES"


def test_a_model_is_tested_again_on_the_same_feeds_alone(trained, folder):
    def again(*settings):
        return run(
            folder / "s.toml", stages="backtest", set=[*SETTINGS, *settings], runs_dir=folder / "runs",
            options=Options(model=trained.run.name),
        )  # fmt: skip

    assert again().metrics["net_profit"] == trained.metrics["net_profit"]
    for setting, differing in {
        "feeds.hourly.bar_size=30 min": "feeds.hourly",
        "feeds.es.instrument=MES": "feeds.es",
        "features.es.on=hourly": "features.es",
    }.items():
        with pytest.raises(UsageError, match="trained on something else") as error:
            again(setting)
        assert differing in str(error.value)


def test_a_model_whose_feed_is_gone_from_its_manifest_is_refused(trained, tmp_path):
    import shutil

    from mnqcore.agent import artifact, files

    folder = tmp_path / "model"
    shutil.copytree(trained.run.path / "model", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["feeds"]["es"]
    manifest.pop("files")
    (folder / "manifest.json").unlink()
    files.seal(folder, manifest)

    with pytest.raises(DataError, match="es"):
        artifact.load(folder, load())


def test_a_hole_that_no_feed_explains_is_still_an_error(on):
    import attrs

    holed = on.prepared.tape.features.copy()
    bar = int(np.flatnonzero(~on.prepared.tape.excused)[-1])
    holed.iloc[bar, 0] = np.nan
    tape = attrs.evolve(on.prepared.tape, features=holed)

    with pytest.raises(PluginError, match=r"broke its contract: it has no value \(nan\) at a bar after its first ones"):
        ground(attrs.evolve(on.prepared, tape=tape))


def test_the_playground_of_a_training_is_whole_and_blind_where_a_feed_is_missing(on):
    fold = on.folds[0]
    features = on.scaler(fold)(on.prepared.tape.features)
    arena = on.arena(fold.train, features, 1.0)

    assert np.isfinite(arena.features[on.first :]).all()
    seen = np.array([np.isfinite(features[bar - 7 : bar + 1]).all() for bar in range(on.first, len(features))])
    np.testing.assert_array_equal(arena.blind[on.first :], ~seen)
    assert 0 < arena.blind[on.first :].sum() < len(seen) / 2


def test_whatever_is_chosen_by_the_blind_counts_as_hold():
    arena = arena_of_seed(3, bars=60, blind=np.arange(60) % 3 != 0, window=Window(first=LOOKBACK - 1, last=59))
    held = arena_of_seed(3, bars=60, window=Window(first=LOOKBACK - 1, last=59))
    blind, seeing = (Accounts(one, [np.random.default_rng(1)]) for one in (arena, held))
    for accounts in (blind, seeing):
        accounts.begin(np.ones(1, np.bool_), {0: {"start": LOOKBACK}})
    actions = np.random.default_rng(2).integers(1, 4, 60)
    for bar in range(LOOKBACK, 59):
        wanted = np.array([actions[bar]])
        done = blind.step(wanted)[3]
        seeing.step(wanted if bar % 3 == 0 else np.array([Action.HOLD]))
        for name in ("position", "equity", "action"):
            assert blind.account.steps[name] == seeing.account.steps[name], (bar, name)
        if done[0]:
            break
    assert bar > LOOKBACK + 10

    blind.begin(np.ones(1, np.bool_))
    with pytest.raises(UsageError, match="an action is not"):
        blind.step(np.array([7]))
