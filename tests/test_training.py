"""Trainings: what they leave, what they keep, how they end, and learners of another make."""

import csv
import json
import math
import re
import shutil
import signal

import numpy as np
import pytest
import torch

from mnqcore import DataError, MnqError, PluginError
from mnqcore.agent import checkpoint
from mnqcore.errors import UsageError
from tests.tiny import A2C, MEASURED, SAME, STOPPER, bytes_of, learn, rows

EXTRACTORS = {
    "lstm": ("extractor.use=lstm", "extractor.hidden=8"),
    "gru": ("extractor.use=gru", "extractor.hidden=8"),
    "attention": ("extractor.use=attention", "extractor.hidden=8", "extractor.heads=2"),
}
SHORT = ("agent.timesteps=1024", "agent.checkpoint=512")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose runs share what was seen already."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def whole(home):
    """A training that ran to its end, on a reward that can stop it."""
    (home / "stopper.py").write_text(STOPPER)
    return learn(home, "reward.use=stopper", plugins=[str(home / "stopper.py")])


def plugin(folder, name, code):
    file = folder / f"{name}.py"
    file.write_text(f"from mnqcore import hookimpl, param, plugin, state\n\n{code}")
    return str(file)


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_every_algorithm_learns_with_every_extractor(algorithm, extractor, home):
    result = learn(home, *(A2C if algorithm == "a2c" else ()), *EXTRACTORS[extractor], *SHORT)

    left = {path.relative_to(result.run.path).as_posix() for path in result.run.path.rglob("*") if path.is_file()}
    assert left >= {
        "resolved.toml", "manifest.json", "metrics.json", "trades.parquet", "equity.parquet", "log.jsonl",
        "progress.csv", "progress.json", "inputs.json",
        "model/manifest.json", "model/policy.safetensors", "model/probe.json", "model/scaler.json",
    }  # fmt: skip
    assert not [name for name in left if "tfevents" in name or "partial" in name or name.endswith((".pkl", ".zip"))]
    assert result.run.altered() == []
    assert result.metrics["window"]["name"] == "test"
    assert set(result.metrics["learning"]["folds"][0]) == {"fold", "train", "validate", "test"}
    assert result.run.manifest["plugins"]["agent"]["use"] == algorithm
    assert result.run.manifest["model"]["bit_equal"] is True


def test_the_log_is_a_table_and_the_same_as_json(whole):
    found = rows(whole.run.path)
    with (whole.run.path / "progress.csv").open(newline="") as file:
        table = list(csv.DictReader(file))

    validated = [row for row in found if "validate/score" in row]
    assert [row["time/total_timesteps"] for row in validated] == [1024, 2048, 3072, 4096]
    assert len(table) == len(found)
    for one, other in zip(table, found, strict=True):
        assert {key: float(text) for key, text in one.items() if text} == pytest.approx(other, nan_ok=True)
    assert any("train/loss" in row for row in found)


def test_tensorboard_only_where_it_is_asked_for(home):
    result = learn(home, *SHORT, tensorboard=True)

    (events,) = (result.run.path / "tensorboard").iterdir()
    assert "tfevents" in events.name
    assert events.stat().st_size > 500


def test_the_best_checkpoint_is_kept(whole):
    found = validations(whole.run.path)
    progress = json.loads(next(whole.run.path.glob("checkpoint/*/progress.json")).read_text())

    assert (whole.metrics["learning"]["folds"][0]["validate"]["sharpe"] or 0.0) == max(found.values())
    seen = {step: score for step, score in found.items() if step <= 3072}
    assert progress["scores"] == [[step, score] for step, score in seen.items()]
    assert progress["best_at"] == max(seen, key=lambda step: (seen[step], -step))


def test_what_is_kept_is_what_the_best_validation_saw(home):
    """A training cut off where it did best keeps those weights, so a longer one that got worse has the same."""
    for seed in range(20):
        settings = (f"seed={seed}", "agent.learning_rate=0.02", "agent.checkpoint=512")
        longer = learn(home, *settings, "agent.timesteps=2560", stages="train")
        found = validations(longer.run.path)
        best_at = max(found, key=lambda step: (found[step], -step))
        if best_at < 2560 and found[best_at] > 0:
            break

    shorter = learn(home, *settings, f"agent.timesteps={best_at}", stages="train")

    name = "model/policy.safetensors"
    assert best_at < 2560
    assert bytes_of(longer.run.path, name) == bytes_of(shorter.run.path, name)


def validations(run):
    """Return bars trained -> validation score."""
    return {row["time/total_timesteps"]: row["validate/score"] for row in rows(run) if "validate/score" in row}


def test_patience_ends_a_training_early(home):
    patient = learn(home, "agent.learning_rate=0.02", "agent.timesteps=20480", "agent.patience=2", stages="train")

    scores = [row["validate/score"] for row in rows(patient.run.path) if "validate/score" in row]
    assert len(scores) < 20
    best = int(np.argmax(scores))
    assert len(scores) == best + 3
    assert max(scores[best + 1 :]) <= scores[best]


def test_a_training_that_ended_early_ends_there_again_when_it_is_resumed(home):
    settings = ("agent.learning_rate=0.02", "agent.timesteps=20480", "agent.patience=2")
    patient = learn(home, *settings, stages="train")
    again = learn(home, *settings, stages="train", resume=patient.run.path)

    names = ("model/policy.safetensors", "metrics.json")
    assert bytes_of(again.run.path, *names) == bytes_of(patient.run.path, *names)
    assert rows(again.run.path) == rows(patient.run.path)


@pytest.mark.parametrize("call", [*(pytest.param(call, marks=pytest.mark.proof) for call in (10, 300, 1000)), 700])
def test_resumed_equals_uninterrupted(call, whole, home, monkeypatch):
    """The stop comes before, between and after checkpoints."""
    kept = stopped(home, monkeypatch, call)
    again = learn(
        home, "reward.use=stopper", plugins=[str(home / "stopper.py")], resume=kept.relative_to(home / "runs")
    )

    assert bytes_of(again.run.path, *SAME) == bytes_of(whole.run.path, *SAME)
    steps, before = rows(again.run.path), rows(whole.run.path)
    assert [row["time/total_timesteps"] for row in steps] == [row["time/total_timesteps"] for row in before]
    figures = [name for name in before[-1] if not name.startswith(("time/", "rollout/"))]
    assert [[row.get(name) for name in figures] for row in steps] == [
        [row.get(name) for name in figures] for row in before
    ]


@pytest.mark.parametrize(("use_rms_prop", "call"), [("true", 701), pytest.param("false", 702, marks=pytest.mark.proof)])
def test_what_the_optimiser_of_a2c_remembers_goes_on_too(use_rms_prop, call, whole, home, monkeypatch):
    settings = (*A2C, f"agent.use_rms_prop={use_rms_prop}")
    plugins = [str(home / "stopper.py")]
    kept = stopped(home, monkeypatch, call, *settings)
    again = learn(home, "reward.use=stopper", *settings, plugins=plugins, resume=kept)
    other = learn(home, "reward.use=stopper", *settings, plugins=plugins)

    assert bytes_of(again.run.path, *SAME) == bytes_of(other.run.path, *SAME)


@pytest.mark.proof
def test_a_finished_training_goes_on_to_more_bars_as_if_it_had_never_ended(whole, home):
    settings, plugins = ("reward.use=stopper", "agent.timesteps=6144"), [str(home / "stopper.py")]
    longer = learn(home, *settings, plugins=plugins)
    again = learn(home, *settings, plugins=plugins, resume=whole.run.path)

    assert bytes_of(again.run.path, *SAME) == bytes_of(longer.run.path, *SAME)
    with pytest.raises(UsageError, match="longer than asked for"):
        learn(home, "reward.use=stopper", "agent.timesteps=2048", plugins=plugins, resume=whole.run.path)


def test_folds_and_seeds_that_were_done_are_done_again_for_more_bars(home):
    walk = ("split.use=walk-forward", "split.folds=2", "agent.checkpoint=256")
    first = learn(home, *walk, "agent.timesteps=512", stages="train")
    again = learn(home, *walk, "agent.timesteps=1024", stages="train", resume=first.run.path)
    other = learn(home, *walk, "agent.timesteps=1024", stages="train")

    names = [f"model/fold-{fold}/policy.safetensors" for fold in (1, 2)]
    assert bytes_of(again.run.path, *names, "metrics.json") == bytes_of(other.run.path, *names, "metrics.json")


def stopped(home, monkeypatch, call, *settings):
    """Stop a training by Ctrl-C at a call of its reward, another one each time; return the folder that was kept."""
    monkeypatch.setenv("STOP_AT", str(MEASURED + call))
    monkeypatch.setenv("STOP_BY", "SIGINT")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background inherits that it is ignored
    before = set((home / "runs").glob("tiny/*"))
    with pytest.raises(KeyboardInterrupt):
        learn(home, "reward.use=stopper", *settings, plugins=[str(home / "stopper.py")])
    monkeypatch.delenv("STOP_AT")
    (kept,) = set((home / "runs").glob("tiny/*")) - before
    assert kept.name.endswith("-interrupted")
    return kept


def test_a_resumed_training_must_be_the_same(whole, home, tmp_path):
    stopper, run = str(home / "stopper.py"), whole.run.path

    def resume(*settings, plugins=(stopper,), **options):
        learn(home, "reward.use=stopper", *settings, plugins=plugins, resume=options.pop("resume", run), **options)

    changed = copy_of(run, tmp_path / "changed")
    document = json.loads((changed / "inputs.json").read_text())
    (changed / "inputs.json").write_text(json.dumps(document | {"data_sha256": "", "features_sha256": ""}))
    edited = tmp_path / "stopper.py"
    edited.write_text(STOPPER.replace("equity_change.copy()", "equity_change * 2"))

    with pytest.raises(UsageError, match="of another strategy"):
        resume("agent.learning_rate=0.1")
    with pytest.raises(UsageError, match="the bars, the features"):
        resume(resume=changed)
    with pytest.raises(UsageError, match=r"--seeds \(was 1\)"):
        resume(seeds=2)
    with pytest.raises(UsageError, match="the -p files"):
        resume(plugins=[str(edited)])
    with pytest.raises(UsageError, match="there is no checkpoint to go on from"):
        resume(resume=tmp_path / "nothing")


def test_a_learning_rate_that_falls_to_the_end_has_its_end(home):
    linear = learn(home, "agent.schedule=linear", *SHORT, stages="train")
    with pytest.raises(UsageError, match="cannot be resumed with another length"):
        learn(home, "agent.schedule=linear", "agent.timesteps=2048", "agent.checkpoint=512", resume=linear.run.path)


def copy_of(run, place):
    return shutil.copytree(run, place)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("policy.safetensors", lambda content: content[:-40], "policy.safetensors is not as it was written"),
        ("best.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1]), "best.safetensors is not as it"),
        ("optimizer.safetensors", lambda _content: b"", "optimizer.safetensors is not as it was written"),
        ("progress.json", lambda content: content[:60], "cannot be read"),
        ("progress.json", lambda _content: b"[]", "cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_refused(name, damage, words, whole, home, tmp_path):
    run = copy_of(whole.run.path, tmp_path / "run")
    (file,) = run.glob(f"checkpoint/*/{name}")
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(DataError, match="a checkpoint cannot be read") as caught:
        learn(home, "reward.use=stopper", plugins=[str(home / "stopper.py")], resume=run)
    assert words in str(caught.value)
    assert "train anew" in caught.value.facts["next"]


def test_a_checkpoint_without_a_file_is_refused(whole, home, tmp_path):
    run = copy_of(whole.run.path, tmp_path / "run")
    next(run.glob("checkpoint/*/optimizer.safetensors")).unlink()

    with pytest.raises(DataError, match="a checkpoint cannot be read"):
        learn(home, "reward.use=stopper", plugins=[str(home / "stopper.py")], resume=run)


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.SGD, torch.optim.AdamW], ids=lambda make: make.__name__)
def test_a_checkpoint_holds_all_that_an_optimiser_remembers(make, tmp_path):
    def trained(steps, weight, optimizer):
        for step in range(steps):
            optimizer.zero_grad()
            ((weight - step) ** 2).sum().backward()
            optimizer.step()

    weight = torch.nn.Parameter(torch.arange(6.0))
    optimizer = make([weight], lr=0.1, **({"momentum": 0.9} if make is torch.optim.SGD else {}))
    trained(3, weight, optimizer)
    progress = checkpoint.Progress(number=7, timesteps=3, updates=1, best=math.pi, best_at=2, scores=[[2, math.pi]])
    checkpoint.write(tmp_path, progress, {"w": weight}, {"w": weight * 2}, optimizer)

    fresh = torch.nn.Parameter(torch.zeros(6))
    other = make([fresh], lr=0.1, **({"momentum": 0.9} if make is torch.optim.SGD else {}))
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    found, weights, best = checkpoint.read(newest, other)
    assert best is not None
    with torch.no_grad():
        fresh.copy_(weights["w"])
    trained(3, weight, optimizer)
    trained(3, fresh, other)

    assert found == progress
    assert torch.equal(best["w"], weights["w"] * 2)
    assert torch.equal(fresh, weight)


def test_only_the_newest_checkpoint_stays(tmp_path):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight])
    for number in (0, 1, 12):
        checkpoint.write(tmp_path, checkpoint.Progress(number=number), {"w": weight}, None, optimizer)
    (tmp_path / ".unfinished").mkdir()

    assert checkpoint.newest(tmp_path) == tmp_path / "12"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".unfinished", "12"]
    assert checkpoint.newest(tmp_path / "nothing") is None


NAN = """
@plugin
class Nan:
    '''Know no answer after a while.'''
    count: int = state()

    def reset(self, lanes):
        self.count = 0 if lanes.all() else self.count

    def __call__(self, step):
        import numpy as np

        self.count += 1
        return np.where((self.count > 100) & (np.arange(len(step.bar)) == 2), np.nan, step.equity_change)

@hookimpl
def register_rewards(register):
    register("nan", Nan)
"""


def test_a_reward_that_is_no_number_is_blamed_on_its_plugin(home, tmp_path):
    with pytest.raises(PluginError) as caught:
        learn(home, "reward.use=nan", plugins=[plugin(tmp_path, "nan", NAN)])

    assert caught.value.what == "reward 'nan' broke its contract: returned nan"
    assert re.match(r"account 3 of 64, bar [\d,]+ = 20\d\d-\d\d-\d\d \d\d:\d\d UTC$", caught.value.facts["where"])
    assert caught.value.facts["who"].endswith(".Nan")


BROKEN = """
@plugin
class Broken:
    '''Do arithmetic that goes wrong once its weights have moved.'''

    def build(self, spec):
        import torch

        class Network(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(spec.n_features))

            def forward(self, windows):
                seen = windows[:, -1]
                return {how}

        return Network()

@hookimpl
def register_extractors(register):
    register("broken", Broken)
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("seen * torch.exp(1e4 * self.weight)", "what the network says of an action is no number"),
        ("torch.sqrt(torch.abs(seen * self.weight))", "weights of the network are no numbers any more"),
    ],
)
def test_a_network_that_breaks_stops_the_training_and_names_the_step(how, words, home, tmp_path):
    before = set((home / "runs").glob("tiny/*"))
    with pytest.raises(MnqError, match="the training broke down: " + words) as caught:
        learn(home, "extractor.use=broken", plugins=[plugin(tmp_path, "broken", BROKEN.format(how=how))])

    facts = caught.value.facts
    assert type(caught.value) is MnqError
    assert facts["where"] == "training step 256, seed 0"
    (kept,) = set((home / "runs").glob("tiny/*")) - before
    assert facts["kept"] == f"{kept}: log, and the checkpoint at 0 bars"
    assert "learning_rate" in facts["next"]
    assert "resume" not in facts
    assert (kept / "progress.csv").is_file()


GREEDY = """
@plugin
class Greedy:
    '''Ask for more than there is.'''

    def build(self, spec):
        import torch

        class Network(torch.nn.Module):
            def forward(self, windows):
                if len(windows) > 1:
                    {how}
                return windows[:, -1]

        return Network()

@hookimpl
def register_extractors(register):
    register("greedy", Greedy)
"""


@pytest.mark.parametrize("how", ["raise MemoryError", "torch.empty(2**62, dtype=torch.uint8)"])
def test_lack_of_memory_comes_with_advice(how, home, tmp_path):
    with pytest.raises(MnqError, match="memory ran out") as caught:
        learn(home, "extractor.use=greedy", plugins=[plugin(tmp_path, "greedy", GREEDY.format(how=how))])

    assert "lower agent.n_envs, agent.n_steps or agent.batch_size, or lookback" in caught.value.facts["next"]


TABLE = """
@plugin
class Table:
    '''Remember which side paid: one number an action, in a file of plain JSON.'''

    bars: int = param(200, ge=1, help="to try")
    worth: tuple = state()

    def reset(self, lanes):
        pass

    def train(self, training):
        import numpy as np

        env, draw = training.env(3), np.random.default_rng(training.seed)
        env.reset()
        worth = np.zeros(4)
        for _ in range(self.bars):
            actions = draw.integers(0, 4, 3)
            _, rewards, _, _ = env.step(actions)
            np.add.at(worth, actions, rewards)
            training.progress(3)
        self.worth = tuple(worth.tolist())
        training.validate(self)

    def act(self, observation):
        import numpy as np

        return np.full(len(observation["position_info"]), int(np.argmax(self.worth)) or 1, np.int64)

    def save(self, folder):
        import json

        (folder / "table.json").write_text(json.dumps(self.worth))

    def load(self, folder, spec):
        import json

        self.worth = tuple(json.loads((folder / "table.json").read_text()))

@hookimpl
def register_agents(register):
    register("table", Table)
"""


def test_a_learner_of_another_make_trains_saves_and_is_tested(home, tmp_path):
    table = plugin(tmp_path, "table", TABLE)
    result = learn(home, "agent.use=table", plugins=[table])
    again = learn(home, "agent.use=table", plugins=[table])
    tested = learn(home, "agent.use=table", plugins=[table], stages="backtest", model=result.run.path)

    names = ("model/table.json", "metrics.json", "trades.parquet")
    assert bytes_of(again.run.path, *names) == bytes_of(result.run.path, *names)
    assert len(json.loads((result.run.path / "model" / "table.json").read_text())) == 4
    assert result.metrics["trades"]["count"] > 0
    assert tested.metrics["net_profit"] == result.metrics["net_profit"]
    assert not (result.run.path / "model" / "policy.safetensors").exists()


ALL = '''
@plugin
class Mean:
    """Average the window."""

    scale: float = param(1.0, gt=0, help="of the answer")

    def build(self, spec):
        import torch

        class Network(torch.nn.Module):
            def __init__(self, scale):
                super().__init__()
                self.scale = scale
                self.weight = torch.nn.Linear(spec.n_features, 4)

            def forward(self, windows):
                return self.weight(windows.mean(dim=1)) * self.scale

        return Network(self.scale)

@plugin
class Half:
    """Pay half of the change of equity."""

    def __call__(self, step):
        return step.equity_change / 2

@plugin
class Far:
    """Stand some points away."""

    points: float = param(40.0, gt=0, help="distance")
    warmup = 0

    def levels(self, view):
        import pandas as pd

        return pd.DataFrame({"stop": self.points}, index=view.bars.index)

@plugin
class Two:
    """Take two contracts."""

    def __call__(self, entry):
        import numpy as np

        return np.full(len(entry.side), 2, np.int64)

@hookimpl
def register_extractors(register):
    register("mean", Mean)

@hookimpl
def register_rewards(register):
    register("half", Half)

@hookimpl
def register_brackets(register):
    register("far", Far)

@hookimpl
def register_sizers(register):
    register("two", Two)
'''


def test_an_extractor_a_reward_a_bracket_and_a_sizer_of_ones_own_train_together(home, tmp_path):
    settings = ("extractor.use=mean", "reward.use=half", "bracket.use=far", "sizer.use=two", "risk.max_position=2")
    result = learn(home, "seed=1", *settings, "extractor.scale=0.5", *SHORT, plugins=[plugin(tmp_path, "own", ALL)])

    used = result.run.manifest["plugins"]
    assert [used[key]["use"] for key in ("extractor", "reward", "bracket", "sizer")] == ["mean", "half", "far", "two"]
    assert set(result.trades["contracts"]) <= {1, 2}
    assert 2 in set(result.trades["contracts"])
    assert (result.run.path / "plugins" / "own.py").is_file()
    assert result.metrics["reward"]["sum"] == pytest.approx(result.metrics["net_profit"] / 2)
