"""Runs of strategies that learn: seeds, folds, no bar seen too early, models tested by later commands."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mnqcore import DataError, PluginError
from mnqcore.errors import UsageError
from mnqcore.runs import open_run
from mnqcore.stages.train import median_seed
from mnqcore.stages.verify import verify
from tests.tiny import A2C, SAME, WALK, bytes_of, learn

SHORT = ("seed=1", "agent.timesteps=1024", "agent.checkpoint=512")
BAR = pd.Timedelta("5min")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(home):
    """A run that was trained and tested."""
    return learn(home, *SHORT)


@pytest.fixture(scope="module")
def walked(home):
    """Two seeds on two folds."""
    return learn(home, *WALK, "seed=1", seeds=2)


@pytest.fixture(scope="module")
def bars(make_view):
    """Bars of one contract, which tests change."""
    found = make_view(30).bars.drop(columns="contract")
    return (found * 4).round() / 4


def moment(text):
    return pd.Timestamp(text)


def from_file(folder, bars, name):
    """Write bars; return the settings that read them."""
    folder.mkdir(parents=True, exist_ok=True)
    bars.to_parquet(folder / f"{name}.parquet")
    return ("data.use=file", f"data.path={(folder / name).as_posix()}.parquet")


def shaken(bars, after):
    """Return bars whose prices are others after a moment."""
    changed, later = bars.copy(), bars.index > after
    draw = np.random.default_rng(5)
    steps = np.cumsum(draw.integers(-40, 41, later.sum())) * 0.25
    for name in ("open", "high", "low", "close"):
        changed.loc[later, name] += steps
    assert not changed[later].equals(bars[later])
    return changed


@pytest.mark.parametrize(
    ("scores", "seed"),
    [
        ({4: 1.0}, 4),
        ({0: 3.0, 1: 1.0, 2: 2.0}, 2),
        ({0: 3.0, 1: 1.0}, 1),
        ({0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}, 2),
        ({5: 0.0, 6: 0.0, 7: 0.0}, 6),
    ],
)
def test_the_seed_with_the_median_score_trades_the_lower_of_two(scores, seed):
    assert median_seed(scores) == seed
    assert median_seed(dict(reversed(scores.items()))) == seed


def test_seeds_are_reported_and_the_median_one_is_the_run(home):
    result = learn(home, *SHORT, seeds=3)
    seeds = result.metrics["learning"]["seeds"]

    assert [one["seed"] for one in seeds] == [1, 2, 3]
    assert len({one["score"] for one in seeds}) == 3
    chosen = sorted(seeds, key=lambda one: (one["score"], one["seed"]))[1]
    assert result.run.manifest["model"]["seed"] == chosen["seed"]
    assert chosen["net_profit"] == pytest.approx(result.metrics["net_profit"])
    name = "policy.safetensors"
    assert (result.run.path / "model" / name).read_bytes() == (
        result.run.path / "units" / f"seed-{chosen['seed']}-fold-1" / "model" / name
    ).read_bytes()

    again = learn(home, f"seed={chosen['seed']}", *SHORT[1:])
    assert bytes_of(again.run.path, f"model/{name}") == bytes_of(result.run.path, f"model/{name}")


def test_processes_side_by_side_train_the_same_as_one_after_the_other(walked, home):
    apart = learn(home, *WALK, "seed=1", "executor.use=joblib", "executor.jobs=2", seeds=2)

    units = [f"units/seed-{seed}-fold-{fold}/model/" for seed in (1, 2) for fold in (1, 2)]
    names = [f"{unit}{name}" for unit in units for name in ("policy.safetensors", "scaler.json", "manifest.json")]
    tables = ["trades.parquet", "equity.parquet", "metrics.json"]
    assert bytes_of(apart.run.path, *names, *tables) == bytes_of(walked.run.path, *names, *tables)


@pytest.mark.parametrize("anchored", ["false", "true"])
def test_one_account_runs_through_the_test_windows_of_all_folds(anchored, home):
    result = learn(home, *WALK, "seed=2", f"split.anchored={anchored}", "split.folds=3")
    folds, equity = result.metrics["learning"]["folds"], result.equity

    assert [fold["fold"] for fold in folds] == [1, 2, 3]
    assert sorted(path.name for path in (result.run.path / "model").iterdir()) == ["fold-1", "fold-2", "fold-3"]
    for one, other in itertools.pairwise(folds):
        assert one["test"]["last"] == other["test"]["first"]
        grows = one["train"]["first"] == other["train"]["first"]
        assert grows == (anchored == "true")
    for fold in folds:
        order = [fold[name][end] for name in ("train", "validate", "test") for end in ("first", "last")]
        assert [moment(text) for text in order] == sorted(moment(text) for text in order)
        share = equity[fold["test"]["first"] : fold["test"]["last"]]
        assert fold["test"]["net_profit"] == pytest.approx(share.iloc[-1] - share.iloc[0])
    assert sum(fold["test"]["net_profit"] for fold in folds) == pytest.approx(result.metrics["net_profit"])
    assert sum(fold["test"]["trades"] for fold in folds) == result.metrics["trades"]["count"]
    assert (equity.index[0], equity.index[-1]) == (moment(folds[0]["test"]["first"]), moment(folds[-1]["test"]["last"]))
    assert result.metrics["learning"]["actions"]["bars"] == len(equity) - 1
    assert equity.iloc[-1] - 10_000 == pytest.approx(result.trades["net"].sum())


def test_folds_keep_their_numbers_where_only_some_of_them_trade(walked, home):
    only = learn(home, *WALK, "seed=1", stages="train").metrics["learning"]["folds"]
    known = walked.metrics["learning"]["folds"]
    seen = learn(home, *WALK, "seed=1", stages="backtest", model=walked.run.path, in_sample=True)
    folds = seen.metrics["learning"]["folds"]

    for one, two in zip(only, known, strict=True):
        assert (one["fold"], one["train"]["first"]) == (two["fold"], two["train"]["first"])
        assert one["validate"]["first"] == two["validate"]["first"]
    assert ["in-sample" in fold for fold in folds] == [False, True]


def test_no_training_and_no_scaler_sees_a_bar_after_its_own(bars, home, tmp_path):
    """All bars after a fold's last training bar are changed: what it learnt by then stays the same to the byte."""
    last = "units/seed-1-fold-{}/checkpoint/1/policy.safetensors"
    settings = (*WALK, "seed=1")
    plain = learn(home, *settings, *from_file(tmp_path, bars, "plain"))
    end = moment(plain.metrics["learning"]["folds"][0]["train"]["last"])
    other = learn(home, *settings, *from_file(tmp_path, shaken(bars, end), "other"))

    assert plain.run.manifest["data"]["data_sha256"] != other.run.manifest["data"]["data_sha256"]
    own = ("model/fold-1/scaler.json", last.format(1))
    assert bytes_of(other.run.path, *own) == bytes_of(plain.run.path, *own)
    later = ("model/fold-2/scaler.json", last.format(2))
    mine, theirs = bytes_of(other.run.path, *later), bytes_of(plain.run.path, *later)
    assert all(mine[name] != theirs[name] for name in later)  # so the change is one that is noticed


def test_the_last_weights_of_a_training_follow_from_its_own_bars_alone(bars, home, tmp_path):
    settings = ("seed=1", "agent.timesteps=1024", "agent.checkpoint=1000000")  # one validation, at the end
    plain = learn(home, *settings, *from_file(tmp_path, bars, "plain"))
    end = moment(plain.metrics["learning"]["folds"][0]["train"]["last"])
    after = learn(home, *settings, *from_file(tmp_path, shaken(bars, end), "after"))
    within = learn(home, *settings, *from_file(tmp_path, shaken(bars, end - BAR), "within"))

    name = "model/policy.safetensors"
    assert bytes_of(after.run.path, name) == bytes_of(plain.run.path, name)
    assert bytes_of(within.run.path, name) != bytes_of(plain.run.path, name)


def test_the_bars_of_the_test_change_neither_the_model_nor_the_choice(bars, home, tmp_path):
    settings = ("seed=1", "agent.timesteps=1536", "agent.checkpoint=256", "agent.learning_rate=0.02")
    plain = learn(home, *settings, *from_file(tmp_path, bars, "plain"), seeds=2)
    first = plain.metrics["learning"]["folds"][0]
    changed = shaken(bars, moment(first["validate"]["last"]))
    other = learn(home, *settings, *from_file(tmp_path, changed, "other"), seeds=2)

    names = ["model/policy.safetensors", "model/scaler.json"]
    assert bytes_of(other.run.path, *names) == bytes_of(plain.run.path, *names)
    second = other.metrics["learning"]["folds"][0]
    assert [second[name] for name in ("train", "validate")] == [first[name] for name in ("train", "validate")]
    assert other.run.manifest["model"]["seed"] == plain.run.manifest["model"]["seed"]
    assert other.metrics["net_profit"] != plain.metrics["net_profit"]


@pytest.mark.parametrize("name", ["trained", "walked"])
def test_verify_repeats_a_run_on_every_level(name, request):
    run = request.getfixturevalue(name).run
    levels = {level.name: level.differs for level in verify(run, retrain=True)}

    assert levels == dict.fromkeys(("inputs", "features", "models", "weights", "ledger", "figures", "versions"), ())


def test_verify_tells_of_a_flipped_byte_in_a_model(trained, tmp_path):
    run = open_run(shutil.copytree(trained.run.path, tmp_path / "runs" / "tiny" / trained.run.path.name))
    file = run.path / "model" / "policy.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    with pytest.raises(DataError, match=r"policy\.safetensors"):
        verify(run)


FEATURES = """
from mnqcore import hookimpl, plugin

@plugin
class Slopes:
    '''Tell how far the last bar went.'''
    warmup = 1

    def compute(self, view):
        return (view.bars[["close"]] / view.bars[["open"]].to_numpy() - 1) * {factor}

@hookimpl
def register_feature_sets(register):
    register("slopes", Slopes)
"""


def test_a_run_is_not_repeated_by_an_edited_plugin(home, tmp_path):
    file = tmp_path / "slopes.py"
    file.write_text(FEATURES.format(factor="100"))
    result = learn(home, *SHORT, "features.moves.use=slopes", plugins=[str(file)])
    assert all(level.equal for level in verify(result.run, retrain=True))

    copy = result.run.path / "plugins" / "slopes.py"
    copy.write_text(FEATURES.format(factor="(100 + view.bars[['volume']].to_numpy() % 7)"))
    with pytest.raises(DataError, match="this model computes other values"):
        verify(result.run, retrain=True)
    with pytest.raises(DataError, match="this model computes other values"):
        learn(home, *SHORT, "features.moves.use=slopes", stages="backtest", model=result.run.path, plugins=[str(copy)])


def test_a_model_is_tested_by_a_later_command_as_it_was_by_its_own(trained, home):
    name = trained.run.name
    for model in (name, trained.run.path, name.partition("/")[2]):
        tested = learn(home, *SHORT, stages="backtest", model=model)

        mine, own = json.loads(json.dumps(tested.metrics)), json.loads(json.dumps(trained.metrics))
        assert mine == own
        assert bytes_of(tested.run.path, *SAME[2:]) == bytes_of(trained.run.path, *SAME[2:])
        assert tested.run.manifest["model"]["origin"] == name
        assert not (tested.run.path / "model").exists()
    with pytest.raises(UsageError, match="tested models of another run"):
        learn(home, *SHORT, stages="backtest", model=tested.run.path)
    assert all(level.equal for level in verify(tested.run))
    with pytest.raises(UsageError, match="has trained nothing"):
        verify(tested.run, retrain=True)


def test_folds_are_tested_by_a_later_command_as_they_were_by_their_own(walked, home):
    tested = learn(home, *WALK, "seed=1", stages="backtest", model=walked.run.path)

    assert bytes_of(tested.run.path, *SAME[2:4]) == bytes_of(walked.run.path, *SAME[2:4])
    assert tested.metrics["learning"]["folds"] == walked.metrics["learning"]["folds"]


def test_other_costs_and_another_bracket_and_sizer_are_a_test_of_the_same_model(trained, home):
    tested = learn(
        home, *SHORT, "costs.slippage_ticks=4", "costs.commission=2.0", "bracket.stop_ticks=60", "sizer.contracts=2",
        "risk.max_position=2", "costs.initial_balance=50000.0", stages="backtest", model=trained.run.path,
    )  # fmt: skip

    assert tested.metrics["net_profit"] != trained.metrics["net_profit"]
    assert tested.metrics["costs"]["slippage_ticks"] == 4


def test_what_the_extractor_makes_of_the_bars_is_kept_for_other_costs(home):
    """The file holds what the extractor would say: where it is made worse within its tolerance, that is what trades."""
    runs = home / "apart"
    result = learn(home, *SHORT, runs_dir=runs)
    (kept,) = (runs / ".encoded").glob("*.npy")
    before = (kept.stat().st_ino, kept.read_bytes())
    learn(home, *SHORT, "costs.slippage_ticks=3", stages="backtest", model=result.run.path, runs_dir=runs)
    assert (kept.stat().st_ino, kept.read_bytes()) == before
    assert len(list((runs / ".encoded").iterdir())) == 1

    rows = np.load(kept)
    unchecked = np.setdiff1d(np.arange(len(rows)), np.unique(np.linspace(0, len(rows) - 1, 8).astype(np.int64)))
    rows[unchecked] *= -1
    np.save(kept, rows)
    other = learn(home, *SHORT, stages="backtest", model=result.run.path, runs_dir=runs)
    assert not other.equity.equals(result.equity)

    rows[:] = 0
    np.save(kept, rows)  # what is checked is wrong: it is made anew
    again = learn(home, *SHORT, stages="backtest", model=result.run.path, runs_dir=runs)
    assert again.equity.equals(result.equity)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("lookback=9", "lookback"),
        ("extractor.hidden=16", "extractor"),
        ("extractor.use=lstm", "extractor"),
        ("features.moves.horizons=[1, 2]", "features.moves"),
        ("features.clock.use=clock", "features.clock"),
        ("bar_size=10 min", "bar_size"),
        ("session.rth=true", "session.rth"),
    ],
)
def test_a_model_that_sees_something_else_is_refused_by_name(setting, named, trained, home):
    with pytest.raises(UsageError, match="trained on something else") as caught:
        learn(home, *SHORT, setting, stages="backtest", model=trained.run.path)

    assert caught.value.facts["found"] == f"these differ: {named}"


def test_a_model_of_another_agent_is_refused_by_name(trained, home):
    with pytest.raises(UsageError, match="trained on something else") as caught:
        learn(home, *A2C, stages="backtest", model=trained.run.path)

    assert caught.value.facts["found"] == "these differ: agent.use"


def test_without_bars_after_the_training_there_is_no_test(trained, home):
    with pytest.raises(DataError, match="no bars after those that the model was made with") as caught:
        learn(home, *SHORT, "data.days=15", stages="backtest", model=trained.run.path)
    assert "--in-sample" in caught.value.facts["next"]

    seen = learn(home, *SHORT, "data.days=15", stages="backtest", model=trained.run.path, in_sample=True)
    assert seen.metrics["window"]["name"] == "in-sample"
    assert "in-sample" in seen.metrics["learning"]["folds"][0]
    assert seen.run.manifest["looks"] is None


def test_only_later_bars_are_tested_where_there_are_more(bars, home, tmp_path):
    settings = from_file(tmp_path, bars.iloc[:5000], "early")
    early = learn(home, *SHORT, *settings)
    late = learn(home, *SHORT, *from_file(tmp_path, bars, "late"), stages="backtest", model=early.run.path)

    start = moment(early.metrics["learning"]["folds"][0]["test"]["first"])
    assert late.equity.index[0] == early.equity.index[0] == start
    assert late.equity.index[-1] == bars.index[-1]
    shared = early.equity.index[: -len(early.equity) // 10]
    assert late.equity[shared].equals(early.equity[shared])


def test_where_the_bars_end_before_a_fold_the_folds_before_trade_to_the_end(bars, home, tmp_path):
    settings = (*WALK, "seed=1")
    walked = learn(home, *settings, *from_file(tmp_path, bars, "all"))
    second = moment(walked.metrics["learning"]["folds"][1]["test"]["first"])
    few = bars[bars.index < second - 100 * BAR]
    tested = learn(home, *settings, *from_file(tmp_path, few, "few"), stages="backtest", model=walked.run.path)

    assert tested.equity.index[-1] == few.index[-1]
    assert ["test" in fold for fold in tested.metrics["learning"]["folds"]] == [True, False]
    shared = tested.equity.index[: -len(tested.equity) // 10]
    assert tested.equity[shared].equals(walked.equity[shared])


@pytest.mark.parametrize(
    ("stages", "options", "words"),
    [
        ("backtest", {}, "must be trained before it can be tested"),
        ("backtest", {"seeds": 3, "model": "tiny"}, "--seeds: nothing is trained"),
        ("backtest", {"tensorboard": True, "model": "tiny"}, "--tensorboard: nothing is trained"),
        ("backtest", {"resume": "x", "model": "tiny"}, "--resume: nothing is trained"),
        ("train,backtest", {"model": "tiny"}, "--model backtests a model that is trained"),
        ("train", {"in_sample": True}, "--in-sample: nothing is backtested"),
        ("train,train", {}, "once each, in order"),
        ("backtest,train", {}, "once each, in order"),
        ("backtest", {"model": "nothing-like-it"}, "no run 'nothing-like-it'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(stages, options, words, home):
    with pytest.raises(UsageError, match=words):
        learn(home, stages=stages, **options)


@pytest.mark.parametrize(
    "options", [{"seeds": 2}, {"model": "tiny"}, {"in_sample": True}, {"resume": "x"}, {"tensorboard": True}]
)
def test_a_rule_has_nothing_to_train(options, home):
    (name,) = options
    with pytest.raises(UsageError, match="agent 'flat' is a rule") as caught:
        learn(home, "agent.use=flat", stages="backtest", **options)
    assert caught.value.facts["found"] == f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match="agent 'flat' is a rule"):
        learn(home, "agent.use=flat", stages="train")


PEEKS = """
from mnqcore import hookimpl, plugin

@plugin
class Peeks:
    '''Know what comes.'''
    warmup = 0

    def compute(self, view):
        return view.bars[["close"]].{how}.astype(float).fillna(0.0)

@hookimpl
def register_feature_sets(register):
    register("peeks", Peeks)
"""


def test_features_are_looked_at_before_the_training_and_once(home, tmp_path):
    file = tmp_path / "peeks.py"
    parts: list[str] = []
    settings = (*SHORT, "features.moves.use=peeks")

    def go():
        parts.clear()
        return learn(
            home, *settings, plugins=[str(file)], stages="train", runs_dir=tmp_path / "runs", progress=parts.append
        )

    file.write_text(PEEKS.format(how="diff()"))
    go()
    (seen,) = (tmp_path / "runs" / ".seen").iterdir()
    first = seen.stat().st_mtime_ns
    again = go()
    assert seen.stat().st_mtime_ns == first
    assert again.run.manifest["data"]["look_ahead_bars"] == 5000
    seen.write_text("77")  # it is what was kept that is told, so nothing was looked at again
    assert go().run.manifest["data"]["look_ahead_bars"] == 77

    file.write_text(PEEKS.format(how="diff(-1)"))
    with pytest.raises(PluginError, match="looks into the future"):
        go()
    assert "training" not in parts
    assert len(list((tmp_path / "runs" / ".seen").iterdir())) == 1


def test_a_run_that_only_trained_shows_its_validation_and_can_be_tested_later(home):
    only = learn(home, *SHORT, stages="train")
    both = learn(home, *SHORT)
    tested = learn(home, *SHORT, stages="backtest", model=only.run.path)

    assert only.metrics["window"]["name"] == "validate"
    assert only.run.manifest["looks"] is None
    assert bytes_of(only.run.path, *SAME[:2]) == bytes_of(both.run.path, *SAME[:2])
    assert bytes_of(tested.run.path, *SAME[2:4]) == bytes_of(both.run.path, *SAME[2:4])
    assert all(level.equal for level in verify(only.run, retrain=True))
