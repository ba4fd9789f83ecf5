"""Models on disk: kept to the bit, refused where anything is not as it was written, and never run."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.agent import artifact, canned, files, probe
from mnqcore.agent.model import Facts, Model, Report
from mnqcore.agent.policy import blank
from mnqcore.api.values import ModelSpec, ObservationSpec
from mnqcore.errors import DataError, MnqError, PluginError, UsageError
from mnqcore.market.instruments import catalogue
from mnqcore.plugins import load as load_plugins
from mnqcore.plugins.provenance import sha256_of_file
from mnqcore.strategy.model import Choice
from mnqcore.tape.scaler import Scaler

PLUGIN = """
import torch

from mnqcore import hookimpl, param, plugin, state
from mnqcore.agent.policy import blank
from mnqcore.agent.policy import blank
from mnqcore.agent.weights import read_weights, write_weights


@plugin
class Tiny:
    '''A policy that is never trained.'''

    hidden: tuple[int, ...] = param((8,), ge=1)
    activation: str = param("tanh", choices=("tanh", "relu"))
    patience: int | None = param(None, ge=1)
    policy = state()

    def train(self, training):
        self.policy = blank(training, self.hidden, self.activation)

    def act(self, observation):
        return self.policy.predict(observation, deterministic=True)[0]

    def save(self, folder):
        write_weights(folder / "policy.safetensors", self.policy.weights())

    def load(self, folder, spec):
        self.policy = blank(spec, self.hidden, self.activation)
        self.policy.take(read_weights(folder / "policy.safetensors", self.policy.weights()))


@plugin
class Threshold:
    '''A learner without a network: it buys above what it was told.'''

    level: float = param(0.0)
    learnt: float = state()

    def train(self, training):
        self.learnt = 0.25

    def act(self, observation):
        import numpy as np

        return np.where(observation["market_features"][:, -1, 0] > self.learnt, 1, 2)

    def save(self, folder):
        (folder / "learnt.json").write_text(f'{{"learnt": {self.learnt}}}')

    def load(self, folder, spec):
        import json

        self.learnt = json.loads((folder / "learnt.json").read_text())["learnt"]


@plugin
class Pool:
    '''The mean of the window, mixed.'''

    width: int = param(5, ge=1)

    def build(self, spec):
        return Mixed(spec.n_features, self.width)


class Mixed(torch.nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.mix = torch.nn.Linear(features, width)

    def forward(self, windows):
        return torch.tanh(self.mix(windows.mean(dim=1)))


@plugin
class Moves:
    '''Moves over some bars, and how far the close lies from its mean.'''

    bars: int = param(3, ge=1)

    @property
    def warmup(self):
        return 21

    def compute(self, view):
        import pandas as pd

        close = view.bars["close"]
        return pd.DataFrame({"move": close.diff(self.bars), "stretch": close / close.rolling(20).mean() - 1.0})


@hookimpl
def register_agents(register):
    register("tiny", Tiny)
    register("threshold", Threshold)


@hookimpl
def register_extractors(register):
    register("pool", Pool)


@hookimpl
def register_feature_sets(register):
    register("moves", Moves)
"""
NAMES = ("a.move", "a.stretch", "b.move", "b.stretch")


def plugins_of(folder, *edits):
    """Load PLUGIN from a file, with each (old, new) replaced."""
    text = PLUGIN
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (folder / "own.py").write_text(text)
    return load_plugins([str(folder / "own.py")], environ={"MNQ_LOAD_PLUGINS": ""})


def chosen(plugins, kind, name, **params):
    piece = plugins.find(kind, name)
    cls = piece.load()
    full = {field.name: getattr(cls(**params), field.name) for field in attrs.fields(cls) if field.init}
    return Choice(kind=kind, use=name, distribution=piece.distribution, version=piece.version, params=full, cls=cls)


def made(plugins, agent="tiny", extractor="pool", lookback=6, given=False, **facts):
    """Make a model as training leaves it: features on real-looking bars, random weights."""
    sets = (
        {} if given else {"a": chosen(plugins, "features", "moves"), "b": chosen(plugins, "features", "moves", bars=7)}
    )
    encoder, choice = chosen(plugins, "extractor", extractor), chosen(plugins, "agent", agent)
    shape = ObservationSpec(lookback=lookback, n_features=len(NAMES), names=NAMES)
    spec = ModelSpec(observation=shape, extractor=encoder.build())
    torch.manual_seed(7)
    learner = choice.build()
    learner.train(spec)
    seen = Facts(
        strategy="one", digest="0" * 64, seed=3, reward_scale=12.5, train_start="2024-01-02T00:00:00+00:00",
        train_end="2024-03-01T00:00:00+00:00", test_start="2024-04-01T00:05:00+00:00", **facts,
    )  # fmt: skip
    scaler = Scaler(NAMES, np.array([0.5, 0.0, -0.25, 0.001]), np.array([20.0, 0.001, 40.0, 0.002]))
    return Model(
        learner=learner, agent=choice, extractor=encoder, features=sets, spec=spec, scaler=scaler,
        instrument=catalogue()["MNQ"], facts=seen,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def plugins(home):
    return plugins_of(home)


@pytest.fixture(scope="module")
def saved(home, plugins):
    """A model and the folder it was saved in."""
    model = made(plugins)
    artifact.save(home / "model", model)
    return model, home / "model"


@pytest.fixture
def copied(saved, tmp_path):
    shutil.copytree(saved[1], tmp_path / "model")
    return tmp_path / "model"


def sealed(folder):
    """Close a folder again as one who knows how would: the sums are no signature."""
    altered(folder, lambda _manifest: None)


def altered(folder, change):
    """Change the manifest's document, and close the folder again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    files.seal(folder, {key: value for key, value in manifest.items() if key not in ("files", "sha256")})


def refusal(folder, plugins, error=DataError):
    """Return the text with which a folder is refused."""
    with pytest.raises(error) as caught:
        artifact.load(folder, plugins)
    text = str(caught.value)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert len(text) < 2000
    assert not {"lane", "tape", "latent"} & set(text.lower().split())
    return text


class TestRoundTrip:
    def test_a_model_comes_back_to_the_bit(self, saved, plugins):
        model, folder = saved

        again = artifact.load(folder, plugins)

        assert again.report == Report(bit_equal=True)
        assert sorted(path.name for path in folder.iterdir()) == [
            "manifest.json", "policy.safetensors", "probe.json", "scaler.json"
        ]  # fmt: skip
        before, after = model.learner.policy.weights(), again.learner.policy.weights()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert again.facts == model.facts
        assert again.instrument == model.instrument
        assert again.versions == model.versions
        assert again.spec.observation == model.spec.observation
        assert (again.scaler.names, list(again.scaler.mean), list(again.scaler.deviation)) == (
            model.scaler.names, list(model.scaler.mean), list(model.scaler.deviation)
        )  # fmt: skip
        assert again.choices.keys() == model.choices.keys()
        for key, choice in model.choices.items():
            assert (again.choices[key].name, again.choices[key].params) == (choice.name, choice.params)

    def test_it_acts_as_before(self, saved, plugins):
        model, folder = saved
        observation = {
            "market_features": np.random.default_rng(1).normal(size=(50, 6, 4)).astype(np.float32),
            "position_info": np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32),
        }

        assert (model.learner.act(observation) == artifact.load(folder, plugins).learner.act(observation)).all()

    def test_saving_twice_gives_the_same_bytes(self, saved, tmp_path, plugins):
        artifact.save(tmp_path / "again", made(plugins))
        artifact.save(tmp_path / "loaded", artifact.load(saved[1], plugins))

        for path in saved[1].iterdir():
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
            assert path.read_bytes() == (tmp_path / "loaded" / path.name).read_bytes()

    def test_a_learner_of_another_make_writes_its_own_files(self, tmp_path, plugins):
        artifact.save(tmp_path / "model", made(plugins, agent="threshold"))

        again = artifact.load(tmp_path / "model", plugins)

        assert again.report.bit_equal
        assert again.learner.learnt == 0.25
        assert list(json.loads((tmp_path / "model" / "probe.json").read_text())["encoded"]) == ["actions"]

    def test_a_model_on_given_columns_has_no_feature_sets(self, tmp_path, plugins):
        artifact.save(tmp_path / "model", made(plugins, given=True))

        again = artifact.load(tmp_path / "model", plugins)

        assert again.report.bit_equal
        assert again.features == {}
        assert again.spec.observation.names == NAMES

    @pytest.mark.parametrize("lookback", [1, 1500, 2500])
    def test_a_window_may_be_longer_than_the_canned_bars(self, lookback, tmp_path, plugins):
        artifact.save(tmp_path / "model", made(plugins, lookback=lookback))

        assert artifact.load(tmp_path / "model", plugins).report.bit_equal

    @pytest.mark.parametrize(("agent", "extractor"), [("ppo", "lstm"), ("a2c", "gru"), ("ppo", "attention")])
    def test_built_in_pieces(self, agent, extractor, tmp_path, plugins):
        plugins = load_plugins([str(path) for path in plugins.files])
        sets = {
            "moves": chosen(plugins, "features", "returns"),
            "ta": chosen(plugins, "features", "technical"),
            "time": chosen(plugins, "features", "clock"),
        }
        view = canned.canned_view(catalogue()["MNQ"], "5 min", rth=False)
        table = probe.canned_columns(sets, view.instrument, "5 min", rth=False)
        encoder = chosen(plugins, "extractor", extractor)
        shape = ObservationSpec(lookback=50, n_features=table.shape[1], names=tuple(table.columns))
        spec = ModelSpec(observation=shape, extractor=encoder.build())
        choice = chosen(plugins, "agent", agent, hidden=(16,), activation="relu")
        learner = choice.build()
        learner.policy = blank(spec, learner.hidden, learner.activation)
        parts = {"learner": learner, "agent": choice, "extractor": encoder, "features": sets, "spec": spec}
        scaler = Scaler.fit(table, slice(500, None))
        artifact.save(tmp_path / "model", attrs.evolve(made(plugins), **parts, scaler=scaler))

        again = artifact.load(tmp_path / "model", plugins)

        assert again.report == Report(bit_equal=True)
        assert again.sha256 == sha256_of_file(tmp_path / "model" / "manifest.json")
        assert again.agent.params == choice.params
        windows = torch.randn(20, 50, table.shape[1])
        assert torch.equal(again.learner.policy.encode(windows), learner.policy.encode(windows))


class TestSave:
    def test_nothing_is_written_over(self, saved):
        with pytest.raises(UsageError, match="not written over"):
            artifact.save(saved[1], saved[0])

    def test_a_weight_that_is_no_number_is_refused_and_nothing_is_left(self, tmp_path, plugins):
        model = made(plugins)
        with torch.no_grad():
            model.learner.policy.action_net.bias[1] = float("nan")

        with pytest.raises(DataError, match="NaN or infinite") as caught:
            artifact.save(tmp_path / "model", model)

        assert "action_net.bias" in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["learnt.pt", "learnt.zip", "learnt.pkl", "learnt"])
    def test_a_learner_may_write_plain_data_only(self, name, tmp_path):
        (tmp_path / "p").mkdir()
        plugins = plugins_of(tmp_path / "p", ('"learnt.json"', f'"{name}"'))

        with pytest.raises(PluginError, match=f"{name} of the model is refused"):
            artifact.save(tmp_path / "model", made(plugins, agent="threshold"))

        assert not (tmp_path / "model").exists()

    def test_a_learner_may_not_write_files_of_mnq(self, tmp_path):
        (tmp_path / "p").mkdir()
        plugins = plugins_of(tmp_path / "p", ('"learnt.json"', '"scaler.json"'))

        with pytest.raises(PluginError, match=r"scaler\.json, which is a file of mnq's own"):
            artifact.save(tmp_path / "model", made(plugins, agent="threshold"))

    def test_a_place_that_cannot_be_written_is_an_error_of_the_tree(self, saved, tmp_path):
        (tmp_path / "file").write_text("")

        with pytest.raises(MnqError, match="cannot be written"):
            artifact.save(tmp_path / "file" / "model", saved[0])


class TestFilesThatAreRefused:
    @pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors", "probe.json", "scaler.json"])
    def test_missing(self, name, copied, plugins):
        (copied / name).unlink()

        assert f"{name} of the model is refused" in (text := refusal(copied, plugins))
        assert "it is missing" in text

    @pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors", "probe.json", "scaler.json"])
    def test_cut_short_anywhere(self, name, copied, plugins):
        whole = (copied / name).read_bytes()
        for tenth in range(10):
            (copied / name).write_bytes(whole[: len(whole) * tenth // 10])

            assert name in refusal(copied, plugins)

    @pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors", "probe.json", "scaler.json"])
    def test_any_bit_flipped(self, name, copied, plugins):
        whole = (copied / name).read_bytes()
        generator = np.random.default_rng(5)
        for place, bit in zip(generator.integers(len(whole), size=40), generator.integers(8, size=40), strict=True):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            (copied / name).write_bytes(changed)

            assert name in refusal(copied, plugins) or name == "manifest.json"

    @pytest.mark.parametrize("name", ["notes.json", "policy.pt", "model.zip", ".DS_Store", "more.safetensors"])
    def test_added(self, name, copied, plugins):
        (copied / name).write_bytes(b"{}")

        assert f"{name} of the model is refused" in refusal(copied, plugins)

    def test_a_folder_within(self, copied, plugins):
        (copied / "more").mkdir()

        assert "more of the model is refused" in refusal(copied, plugins)

    @pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors", "probe.json", "scaler.json"])
    def test_a_link_even_to_the_same_bytes(self, name, copied, plugins, tmp_path):
        (copied / name).rename(tmp_path / name)
        (copied / name).symlink_to(tmp_path / name)

        assert "it is a link" in (text := refusal(copied, plugins))
        assert name in text

    def test_a_pipe_does_not_hang_it(self, copied, plugins):
        (copied / "manifest.json").unlink()
        os.mkfifo(copied / "manifest.json")

        assert "no plain file" in refusal(copied, plugins)

    @pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "a/b.json"])
    def test_a_path_that_leads_out(self, name, copied, plugins, tmp_path):
        (tmp_path / "outside.json").write_text("{}")
        manifest = json.loads((copied / "manifest.json").read_text())
        manifest["files"][name] = {"bytes": 2, "sha256": sha256_of_file(tmp_path / "outside.json")}
        whole = {key: value for key, value in manifest.items() if key != "sha256"}
        files.write_json(copied / "manifest.json", {**whole, "sha256": files._sum(whole)})

        assert "it is missing" in refusal(copied, plugins)

    def test_a_json_file_too_large_is_not_read(self, copied, plugins):
        with (copied / "manifest.json").open("r+b") as file:
            file.truncate(files.LARGEST_JSON + 1)  # sparse: no such bytes are on the disk

        assert f"{files.LARGEST_JSON + 1} bytes" in refusal(copied, plugins)

    def test_weights_too_large_are_not_even_summed(self, copied, plugins):
        with (copied / "policy.safetensors").open("r+b") as file:
            file.truncate(2**40)  # sparse

        assert f"{2**40} bytes" in refusal(copied, plugins)

    def test_a_name_is_shown_as_plain_text(self, copied, plugins):
        (copied / "\x1b[31m\u00e9.json").write_text("{}")

        assert "\\x1b[31m\\xe9.json of the model is refused" in refusal(copied, plugins)

    def test_more_files_than_a_model_can_have(self, copied, plugins):
        for number in range(70):
            (copied / f"{number}.json").write_text("")

        assert "too many files" in refusal(copied, plugins)

    @pytest.mark.parametrize(
        "content", [b"", b"null", b"[]", b"[" * 100_000, b"{", b"\xff\xfe", b'{"schema": NaN}', b'{"schema": 1e999}']
    )
    def test_garbage_for_a_manifest(self, content, copied, plugins):
        (copied / "manifest.json").write_bytes(content)

        assert "manifest.json of the model is refused" in refusal(copied, plugins)

    def test_no_folder(self, tmp_path, plugins):
        assert "no such model" in refusal(tmp_path / "nothing", plugins)

    def test_a_newer_format_says_what_to_do(self, copied, plugins):
        altered(copied, lambda manifest: manifest.update(schema="mnq.model/2"))

        assert "install a newer mnq" in (text := refusal(copied, plugins))
        assert "mnq.model/2" in text

    @pytest.mark.parametrize("schema", ["mnq.run/1", None, 7, "mnq.model/x"])
    def test_another_format_is_no_model(self, schema, copied, plugins):
        altered(copied, lambda manifest: manifest.update(schema=schema))

        assert "this is no model of mnq" in refusal(copied, plugins)


class TestContentsThatAreRefused:
    """The sums are right here: whoever wrote the folder knew how."""

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda document: document.pop("facts"), "its keys are not"),
            (lambda document: document.update(more=1), "its keys are not"),
            (lambda document: document.update(facts=[]), "facts must be an object"),
            (lambda document: document["facts"].update(seed=-1), "seed must be at least 0"),
            (lambda document: document["facts"].update(seed="x"), "seed must be a whole number"),
            (lambda document: document["facts"].update(more=1), "more"),
            (lambda document: document["facts"].update(train_end="yesterday"), "train_end must be a moment in UTC"),
            (lambda document: document["facts"].update(digest="00"), "digest must be a sha256"),
            (lambda document: document["instrument"].update(tick_size=0.0), "tick_size must be above 0"),
            (lambda document: document["instrument"].pop("tick_size"), "needs 'tick_size'"),
            (lambda document: document.update(lookback=0), "lookback must be from 1"),
            (lambda document: document.update(lookback=True), "lookback must be from 1"),
            (lambda document: document.update(lookback=10**9), "lookback must be from 1"),
            (lambda document: document.update(names=[]), "it names no features"),
            (lambda document: document.update(names=[1, 2, 3, 4]), "it names no features"),
            (lambda document: document.update(names=["a", "b", "c", "d"]), "scaler.json"),
            (lambda document: document.update(features=[]), "features must be an object"),
            (lambda document: document.update(agent=None), "names no agent"),
            (lambda document: document["extractor"].pop("params"), "names no extractor"),
        ],
    )
    def test_a_manifest_that_makes_no_sense(self, change, named, copied, plugins):
        altered(copied, change)

        assert named in refusal(copied, plugins)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda document: document["agent"].update(use="huge"), "the model needs agent 'huge' of mnq-local-own"),
            (lambda document: document["agent"].update(use="a:\x1b\n" + "b" * 10**6), "agent 'a:\\x1b\\nbbb"),
            (lambda document: document["extractor"]["params"].update({"\x1b\u00e9": 1}), "\\x1b\\xe9"),
            (
                lambda document: document["agent"].update(distribution="mnq-x", version="1.2"),
                'pip install "mnq-x==1.2"',
            ),
            (lambda document: document["extractor"]["params"].update(depth=1), "depth"),
            (lambda document: document["extractor"]["params"].update(width=0), "width must be at least 1"),
            (lambda document: document["extractor"]["params"].update(width="wide"), "width must be a whole number"),
        ],
    )
    def test_a_plugin_that_is_not_there_or_takes_something_else(self, change, named, copied, plugins):
        altered(copied, change)

        assert named in refusal(copied, plugins, PluginError)

    def test_weights_of_a_larger_network(self, copied, plugins):
        altered(copied, lambda document: document["extractor"]["params"].update(width=7))

        text = refusal(copied, plugins)

        assert "features_extractor.network.mix.bias is F32 [5], not F32 [7]" in text

    @pytest.mark.parametrize(
        "content",
        ["{}", '{"schema": "mnq.probe/9", "bars": 2000, "columns": {}, "encoded": {}}', '{"schema": [], "bars": 1}',
         '{"schema": "mnq.probe/1", "bars": 2000, "columns": [], "encoded": {}}',
         '{"schema": "mnq.probe/1", "bars": 2000, "columns": {"a.move": {"values": [{}]}}, "encoded": {}}',
         '{"schema": "mnq.probe/1", "bars": 2000, "columns": {"a.move": 3}, "encoded": {}}'],
    )  # fmt: skip
    def test_a_probe_that_is_none(self, content, copied, plugins):
        (copied / "probe.json").write_text(content)
        sealed(copied)

        assert "the probe of a model cannot be read" in refusal(copied, plugins)

    def test_an_empty_probe_proves_nothing(self, copied, plugins):
        (copied / "probe.json").write_text('{"schema": "mnq.probe/1", "bars": 2000, "columns": {}, "encoded": {}}')
        sealed(copied)

        assert "other values in a.move, a.stretch" in refusal(copied, plugins)

    @pytest.mark.parametrize("content", ["{}", "[]", '{"names": [], "mean": [], "deviation": []}', '{"names": 3}'])
    def test_a_scaler_that_is_none(self, content, copied, plugins):
        (copied / "scaler.json").write_text(content)
        sealed(copied)

        assert "scale" in refusal(copied, plugins)


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def bombs(path):
    """Yield pickles in the shapes in which weights are passed around."""
    yield pickle.dumps(Bomb(path))
    held = io.BytesIO()
    torch.save({"weights": Bomb(path)}, held)
    yield held.getvalue()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("data.pkl", pickle.dumps(Bomb(path)))
        file.writestr("data", json.dumps({"policy_class": {":serialized:": "gAU="}}))
    yield held.getvalue()
    plain = pickle.dumps(Bomb(path))
    yield struct.pack("<Q", len(plain)) + plain


class TestNoCodeRuns:
    def test_the_bombs_do_work(self, tmp_path):
        pickle.loads(next(bombs(tmp_path / "boom"))).close()

        assert (tmp_path / "boom").exists()

    @pytest.mark.parametrize(
        "name", ["policy.safetensors", "scaler.json", "probe.json", "manifest.json", "policy.pt", "policy.zip"]
    )
    @pytest.mark.parametrize("resealed", [False, True])
    def test_a_pickle_in_any_place_is_refused_unread(self, name, resealed, copied, plugins, tmp_path):
        manifest = (copied / "manifest.json").read_text()
        for bomb in bombs(tmp_path / "boom"):
            (copied / "manifest.json").write_text(manifest)
            (copied / name).write_bytes(bomb)
            if resealed and name.endswith(("safetensors", "json")) and name != "manifest.json":
                sealed(copied)

            refusal(copied, plugins)

            assert not (tmp_path / "boom").exists()


class TestProbe:
    def test_an_extractor_that_computes_otherwise_is_refused(self, saved, tmp_path):
        other = plugins_of(
            tmp_path, ("torch.tanh(self.mix(windows.mean(dim=1)))", "torch.tanh(self.mix(windows[:, -1]))")
        )

        text = refusal(saved[1], other)

        assert "other values in the output of pool" in text
        assert "was a plugin edited?" in text
        assert "a.move" not in text

    def test_a_feature_set_that_computes_otherwise_is_named_by_its_column(self, saved, tmp_path):
        other = plugins_of(tmp_path, ("close / close.rolling(20)", "close / close.rolling(19)"))

        text = refusal(saved[1], other)

        assert "other values in a.stretch, b.stretch, the output of pool" in text

    def test_columns_of_other_names_are_named(self, saved, tmp_path):
        other = plugins_of(tmp_path, ('"stretch"', '"reach"'))

        assert "a.stretch" in (text := refusal(saved[1], other))
        assert "a.reach" in text

    def test_rounding_is_accepted_and_said(self, saved, tmp_path):
        other = plugins_of(tmp_path, ("mean() - 1.0", "mean() - (1.0 - 1e-12)"))

        report = artifact.load(saved[1], other).report

        assert not report.bit_equal
        assert report.differing[:2] == ("a.stretch", "b.stretch")
        assert report.changed == ()

    def test_other_versions_alone_are_noted(self, copied, plugins):
        def older(document):
            document["versions"] |= {"torch": "1.0", "python": "3.0"}
            document["extractor"]["version"] = "-1"

        altered(copied, older)

        report = artifact.load(copied, plugins).report

        assert report.bit_equal
        now = made(plugins).versions
        assert report.changed == (
            "mnq-local-own -1 now 0", f"python 3.0 now {now['python']}", f"torch 1.0 now {now['torch']}"
        )  # fmt: skip

    def test_versions_that_changed_are_named_where_something_differs(self, copied, tmp_path):
        altered(copied, lambda document: document["versions"].update(torch="1.0"))
        other = plugins_of(tmp_path, ("windows.mean(dim=1)", "windows[:, -1]"))

        assert "changed since: torch 1.0 now" in refusal(copied, other)

    def test_a_learner_that_acts_otherwise_is_refused(self, tmp_path, plugins):
        artifact.save(tmp_path / "model", made(plugins, agent="threshold"))
        other = plugins_of(tmp_path, ("0] > self", "0] < self"))

        assert "the actions of threshold" in refusal(tmp_path / "model", other)

    def test_a_learner_that_answers_nonsense_is_named(self, tmp_path):
        (tmp_path / "p").mkdir()
        plugins = plugins_of(tmp_path / "p", ("self.learnt, 1, 2)", "self.learnt, 1, 9)"))

        with pytest.raises(PluginError, match="broke its contract: act returned"):
            artifact.save(tmp_path / "model", made(plugins, agent="threshold"))

    def test_an_extractor_that_raises_is_named(self, saved, tmp_path):
        other = plugins_of(tmp_path, ("windows.mean(dim=1)", "windows.mean(dim=1 if len(windows) < 9 else 7)"))

        assert "extractor 'mnq-local-own:pool' raised IndexError" in refusal(saved[1], other, PluginError)

    def test_a_plugin_that_raises_is_named(self, saved, tmp_path):
        other = plugins_of(tmp_path, ("close.diff(self.bars)", "close.diff(self.bars / 0)"))

        assert "features 'mnq-local-own:moves' raised ZeroDivisionError" in refusal(saved[1], other, PluginError)

    @given(st.floats(-12, -1), st.sampled_from([-1, 1]), st.integers(0, 62))
    @settings(max_examples=60, deadline=None)
    def test_a_value_may_move_by_a_share_of_the_deviation(self, power, sign, row):
        values = np.sin(np.arange(63.0)) * 3.0
        kept = probe.Fingerprint.of(values, slice(None))
        moved = values.copy()
        moved[row] += sign * 10.0**power * values.std()

        near = kept.is_near(probe.Fingerprint.of(moved, slice(None)), 1e-6)

        assert near == (10.0**power <= 1e-6) or abs(power + 6) < 1e-6

    def test_nan_equals_nan_and_nothing_else(self):
        def kept(*values):
            return probe.Fingerprint.of(np.array(values), slice(None))

        negative = np.copysign(np.nan, -1.0)
        assert kept(np.nan, 1.0).sha256 == kept(negative, 1.0).sha256
        assert kept(np.nan, 1.0).is_near(kept(np.nan, 1.0), 1e-6)
        assert not kept(np.nan, 1.0).is_near(kept(0.0, 1.0), 1e-6)
        assert not kept(0.0, 1.0).is_near(kept(np.nan, 1.0), 1e-6)
        assert kept(np.nan, np.nan).is_near(kept(np.nan, np.nan), 1e-6)
        assert not kept(np.nan, np.nan).is_near(kept(np.nan, 1e-30), 1e-6)
        assert kept(0.0).sha256 == kept(-0.0).sha256
        assert probe.Fingerprint.from_json(kept(np.nan, 1.5).to_json()).to_json() == kept(np.nan, 1.5).to_json()

    def test_a_column_without_variance_may_round(self):
        constant = probe.Fingerprint.of(np.full(63, 0.1), slice(None))

        assert constant.is_near(probe.Fingerprint.of(np.full(63, np.nextafter(0.1, 1)), slice(None)), 1e-6)
        assert not constant.is_near(probe.Fingerprint.of(np.full(63, 0.1000001), slice(None)), 1e-6)
