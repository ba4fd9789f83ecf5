"""Models traded fast against the same models asked bar by bar; what is kept of them, and what is not trusted."""

import itertools
import shutil
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st

from mnqcore import Entry, ObservationSpec, PluginError
from mnqcore.agent.head import head
from mnqcore.agent.latents import latents
from mnqcore.agent.policy import blank
from mnqcore.agent.runner import Turn, lead, learner_turn, policy_turn
from mnqcore.api.values import ModelSpec, Window
from mnqcore.market.instruments import catalogue
from mnqcore.simulator import Account, outcome, rulebook
from mnqcore.simulator.observation import position_info
from mnqcore.strategy.settings import Commission, Costs, Risk, Session
from mnqcore.tape import lay
from mnqplugins.extractors.attention import Attention
from mnqplugins.extractors.gru import Gru
from mnqplugins.extractors.lstm import Lstm

KINDS = {"lstm": Lstm, "gru": Gru, "attention": Attention}
LOOKBACK, FEATURES = 20, 6
SPEC = ObservationSpec(lookback=LOOKBACK, n_features=FEATURES, names=tuple("abcdef"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class World:
    """A market, its rules, and features drawn at random."""

    def __init__(self, view, bars, *, max_loss=None, stop=40, target=90):
        self.instrument = catalogue()["MNQ"]
        frame = view.bars.drop(columns="contract").iloc[:bars]
        self.market = lay(frame, self.instrument, Session(), pd.Timedelta(minutes=5))
        self.market.orders["stop"], self.market.orders["target"] = stop, target
        costs = Costs(initial_balance=100_000.0, commission=Commission(per_contract=0.62), slippage_ticks=1)
        self.law = rulebook(self.instrument, costs, Risk(max_position=3, max_loss=max_loss))
        self.bars = len(self.market.tape)
        drawn = np.random.default_rng(5).normal(size=(self.bars, FEATURES))
        self.features = np.clip(drawn, -10, 10).astype(np.float32)
        self.window = Window(first=LOOKBACK - 1, last=self.bars - 1)

    def lead(self, *turns):
        market = self.market
        return lead(turns, market.tape, market.orders, self.law, initial_balance=100_000.0, size_of=size_of)

    def by_predict(self, *shares):
        """Return (account, actions, equity) of policies asked by `predict`; shares are (policy, window) in order."""
        first, last = shares[0][1].first, shares[-1][1].last
        account = Account(self.market.tape, self.market.orders, self.law, initial_balance=100_000.0)
        account.begin(0, first=first, last=last, balance=100_000.0)
        actions, equity = np.zeros(self.bars, np.int8), np.full(self.bars, 100_000_000_000)
        seen: Any = (0, 0.0, 0, 100_000.0, 100_000.0, LOOKBACK)
        while not account.ledger["done"][0]:
            bar = int(account.ledger["bar"][0])
            policy = next(policy for policy, window in reversed(shares) if bar >= window.first)
            observation = {
                "market_features": self.features[bar - LOOKBACK + 1 : bar + 1],
                "position_info": np.array(position_info(*seen), np.float32),
            }
            actions[bar] = policy.predict(observation, deterministic=True)[0]
            step = account.step(actions[bar : bar + 1], size_of)
            equity[bar + 1 :] = account.ledger["equity"][0]
            names = ("position", "unrealised", "bars_held", "equity", "initial_balance")
            seen = (*(float(getattr(step, name)[0]) for name in names), LOOKBACK)
        return account, actions, equity


def size_of(entry: Entry) -> np.ndarray:
    """Return one to four contracts, by what has been won so far: a share is cut by max_position."""
    return 1 + (entry.wins + entry.losses) % 4


@pytest.fixture(scope="module")
def world(make_view):
    """A world of 2,000 bars."""
    return World(make_view(12), 2000)


def policy_of(extractor, features, *, seed=0, hidden=(64, 64), activation="tanh"):
    """Return a policy whose four preferences are spread alike over the bars, and depend on the position."""
    torch.manual_seed(seed)
    policy = blank(ModelSpec(observation=SPEC, extractor=extractor), hidden, activation)
    windows = torch.from_numpy(np.stack([features[at : at + LOOKBACK] for at in range(300)]))
    side, gain = torch.randint(-1, 2, (300, 1)).float(), torch.randn(300, 1)
    positions = torch.cat((side, gain * side, torch.rand(300, 1) * side.abs(), torch.ones(300, 1)), dim=1)
    layers: Any = [*policy.mlp_extractor.policy_net, policy.action_net]
    first, last = layers[0], layers[-1]
    with torch.no_grad():
        seen = policy.encode(windows)
        first.weight[:, :-4].div_(seen.std(dim=0))
        liked = policy.logits(seen, positions)
        last.weight.div_(liked.std(dim=0)[:, None])
        last.bias.sub_(liked.mean(dim=0)).div_(liked.std(dim=0))
        last.bias[0] += 0.5
    return policy


def turn_of(policy, world, window=None, folder=None):
    """Return a policy's turn over a window."""
    window = window or world.window
    found = latents(policy, world.features, LOOKBACK, window, folder)
    return policy_turn(policy, found, world.features, LOOKBACK, window)


def agree(found, account, actions, equity):
    """Compare everything that two roads came to."""
    assert found.actions.tolist() == actions.tolist()
    assert found.equity[0].tolist() == equity.tolist()
    assert found.account.denied.tolist() == account.denied.tolist()
    same = [name for name in account.ledger.dtype.names if name not in ("trades", "breaks")]
    assert found.account.ledger[same].tolist() == account.ledger[same].tolist()


def lively(found, policy, world, least):
    """Require that all actions occur, that it trades, and that the position decides some bars."""
    counts = np.bincount(found.actions[world.window.first : -1], minlength=4)
    assert counts.min() > least
    assert len(found.account.trades[0]) > least
    flat = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    seen = latents(policy, world.features, LOOKBACK, world.window)[world.window.first : -1]
    with torch.no_grad():
        alone = policy.logits(torch.from_numpy(seen), flat.expand(len(seen), 4)).argmax(dim=1).numpy()
    assert np.count_nonzero(alone != found.actions[world.window.first : -1]) > least


@pytest.mark.parametrize("kind", KINDS)
def test_its_actions_are_those_of_predict(kind, world):
    policy = policy_of(KINDS[kind](hidden=16), world.features)

    found = world.lead(turn_of(policy, world))

    lively(found, policy, world, 20)
    agree(found, *world.by_predict((policy, world.window)))
    assert found.decided == world.window.bars - 1


@pytest.mark.proof
@pytest.mark.parametrize("kind", KINDS)
def test_its_actions_are_those_of_predict_over_20_000_bars(kind, make_view):
    world = World(make_view(90), 20_100, stop=60, target=0)
    assert world.bars == 20_100
    policy = policy_of(KINDS[kind](), world.features, seed=1)

    found = world.lead(turn_of(policy, world))

    lively(found, policy, world, 200)
    account, actions, equity = world.by_predict((policy, world.window))
    assert found.decided > 20_000
    assert found.ties == 0
    agree(found, account, actions, equity)


@pytest.mark.parametrize(
    ("hidden", "activation"), [((64, 64), "relu"), ((7,), "tanh"), ((33, 5, 130), "relu")], ids=str
)
def test_any_layers_do_as_predict_does(hidden, activation, world):
    policy = policy_of(Gru(hidden=9), world.features, seed=3, hidden=hidden, activation=activation)
    part = Window(first=100, last=500)

    assert head(policy) is not None
    agree(world.lead(turn_of(policy, world, part)), *world.by_predict((policy, part)))


def test_layers_that_are_not_compiled_do_as_predict_does(world):
    policy = policy_of(Gru(hidden=9), world.features, seed=3)
    policy.mlp_extractor.policy_net[1] = torch.nn.ELU()
    part = Window(first=100, last=500)

    assert head(policy) is None
    agree(world.lead(turn_of(policy, world, part)), *world.by_predict((policy, part)))


def test_without_layers_in_between_it_does_as_predict_does(world):
    torch.manual_seed(0)
    policy = blank(ModelSpec(observation=SPEC, extractor=Gru(hidden=9)), (), "tanh")
    part = Window(first=100, last=300)

    agree(world.lead(turn_of(policy, world, part)), *world.by_predict((policy, part)))


def test_equal_preferences_are_counted_and_decided_as_predict_does(world):
    policy = policy_of(Lstm(hidden=8), world.features)
    with torch.no_grad():
        policy.action_net.weight[2] = policy.action_net.weight[1]
        policy.action_net.bias[2] = policy.action_net.bias[1]
    part = Window(first=100, last=700)

    found = world.lead(turn_of(policy, world, part))

    assert found.ties == np.count_nonzero(found.actions == 1) > 50
    assert found.unsure >= found.ties
    agree(found, *world.by_predict((policy, part)))


def test_it_ends_where_a_loss_limit_ends_it(make_view):
    world = World(make_view(12), 2000, max_loss=900.0)
    policy = policy_of(Lstm(hidden=8), world.features)

    found = world.lead(turn_of(policy, world))

    assert found.account.ledger["ended"][0]
    last = int(found.account.ledger["bar"][0])
    assert last < world.window.last
    assert found.decided == last - world.window.first
    assert not found.actions[last:].any()
    agree(found, *world.by_predict((policy, world.window)))
    market = world.market
    out = outcome(found.account, found.equity, market.times, market.contracts, world.instrument)
    assert out.ended_at == last
    assert out.equity[-1] == pytest.approx(100_000.0 + out.trades["net"].sum())


def test_models_follow_each_other_on_one_account(world):
    edges = (100, 611, 1002, 1500)
    windows = [Window(first=first, last=last) for first, last in itertools.pairwise(edges)]
    kinds = (Lstm(hidden=8), Attention(hidden=8, heads=2), Gru(hidden=12))
    policies = [policy_of(kind, world.features, seed=seed) for seed, kind in enumerate(kinds)]

    found = world.lead(*(turn_of(policy, world, window) for policy, window in zip(policies, windows, strict=True)))

    agree(found, *world.by_predict(*zip(policies, windows, strict=True)))
    alone = [world.lead(turn_of(policy, world, Window(first=100, last=1500))).actions for policy in policies]
    parts = [found.actions[window.first : window.last] for window in windows]
    assert np.array_equal(parts[0], alone[0][100:611])
    assert not any(np.array_equal(parts[1], other[611:1002]) for other in (alone[0], alone[2]))
    assert found.account.ledger["bar"][0] == 1500
    # A position that one model opened is the next one's to close.
    assert any(row["entry_bar"] <= edge < row["exit_bar"] for edge in edges[1:-1] for row in found.account.trades[0])


class Acting:
    """A learner of another package: it only acts, and remembers how often since it was reset."""

    def __init__(self, policy):
        self.policy, self.calls, self.resets = policy, 0, 0

    def act(self, observation):
        assert observation["market_features"].shape == (1, LOOKBACK, FEATURES)
        assert observation["position_info"].shape == (1, 4)
        assert {values.dtype.name for values in observation.values()} == {"float32"}
        self.calls += 1
        return self.policy.predict(dict(observation), deterministic=True)[0]

    def reset(self, lanes):
        assert lanes.tolist() == [True]
        self.calls, self.resets = 0, self.resets + 1


def test_any_learner_is_led_by_what_it_acts(world):
    policy, part = policy_of(Lstm(hidden=8), world.features), Window(first=60, last=460)
    learner = Acting(policy)

    slow = world.lead(learner_turn(learner, world.features, LOOKBACK, part))

    agree(slow, *world.by_predict((policy, part)))
    fast = world.lead(turn_of(policy, world, part))
    assert fast.actions.tolist() == slow.actions.tolist()
    assert fast.account.trades[0].tolist() == slow.account.trades[0].tolist()
    assert (learner.calls, learner.resets) == (400, 1)
    assert (slow.ties, slow.unsure, slow.decided) == (0, 0, 400)


@pytest.mark.parametrize(
    "given",
    [[4], [-1], [1, 1], 1, [1.0], [[1]], ["BUY"], None, np.zeros(900, np.int64)],
    ids=lambda given: str(given)[:9],
)
def test_what_is_no_action_is_refused_by_name(given, world):
    class Astray:
        def act(self, _observation):
            return np.asarray(given) if isinstance(given, list) else given

    turn = learner_turn(Astray(), world.features, LOOKBACK, world.window)
    with pytest.raises(PluginError, match="act of an agent broke its contract: it returned") as caught:
        world.lead(turn)
    assert "Astray" in caught.value.facts["who"]


# What extractors make of windows


class Plain(torch.nn.Module):
    """The mean of a window, widened; notes how many windows it was shown at once."""

    def __init__(self, features):
        super().__init__()
        self.widen, self.shown = torch.nn.Linear(features, 5), []

    def forward(self, windows):
        self.shown.append(len(windows))
        return torch.tanh(self.widen(windows.mean(dim=1)))


class Extractor:
    """Builds what it is given."""

    def __init__(self, network):
        self.network = network

    def build(self, spec):
        return self.network(spec.n_features)


def direct(policy, features, window):
    """Return latents of all windows, one by one."""
    rows = [features[bar - LOOKBACK + 1 : bar + 1] for bar in range(window.first, window.last + 1)]
    with torch.no_grad():
        return torch.cat([policy.encode(torch.from_numpy(row[None])) for row in rows]).numpy()


def made(network, world):
    """Return a policy on a network of this file."""
    return policy_of(Extractor(network), world.features)


@pytest.mark.parametrize("window", [Window(first=LOOKBACK - 1, last=1999), Window(first=700, last=1100)], ids=str)
@pytest.mark.parametrize("extractor", [Lstm(hidden=8), Gru(hidden=8, layers=2), Attention(hidden=8), Extractor(Plain)],
                         ids=["lstm", "gru", "attention", "plain"])  # fmt: skip
def test_a_row_is_the_latent_of_the_window_that_ends_there(extractor, window, world):
    policy = policy_of(extractor, world.features)

    found = latents(policy, world.features, LOOKBACK, window)

    assert found.dtype.name == "float32"
    assert len(found) == world.bars
    assert np.isnan(found[: window.first]).all()
    assert np.isnan(found[window.last + 1 :]).all()
    np.testing.assert_allclose(
        found[window.first : window.last + 1], direct(policy, world.features, window), rtol=0, atol=5e-6
    )


def test_few_windows_lie_in_memory_at_a_time(world):
    policy = made(Plain, world)
    shown = policy.features_extractor.network.shown
    shown.clear()

    latents(policy, world.features, LOOKBACK, world.window)

    assert max(shown) <= 128
    assert sum(shown) == world.window.bars + 8


def test_it_is_encoded_as_in_evaluation(world):
    policy = policy_of(Lstm(hidden=8, layers=2, dropout=0.5), world.features)
    policy.set_training_mode(True)

    once, again = (latents(policy, world.features, LOOKBACK, world.window) for _ in range(2))

    assert not policy.training
    assert np.array_equal(once, again, equal_nan=True)


def test_a_window_that_begins_before_the_bars_is_an_error(world):
    with pytest.raises(ValueError, match="bar 18 has no 20 bars"):
        latents(made(Plain, world), world.features, LOOKBACK, Window(first=18, last=40))


class Series(Plain):
    """Encodes a series in one go, and that rightly."""

    def encode_series(self, rows):
        return torch.tanh(self.widen(rows.unfold(0, LOOKBACK, 1).mean(dim=2)))


class Late(Series):
    def encode_series(self, rows):
        return super().encode_series(rows).roll(1, dims=0)


class Off(Series):
    def encode_series(self, rows):
        return super().encode_series(rows) + 5e-3


class Rough(Series):
    def encode_series(self, rows):
        return super().encode_series(rows) + 5e-5


class Short(Series):
    def encode_series(self, rows):
        return super().encode_series(rows)[1:]


class Wide(Series):
    def encode_series(self, rows):
        return super().encode_series(rows).repeat(1, 2)


class Raises(Series):
    def encode_series(self, rows):
        raise KeyError("hidden")


def test_a_series_is_encoded_in_pieces_that_fit_together(world, make_view):
    policy, part = made(Series, world), Window(first=40, last=1900)
    found = latents(policy, world.features, LOOKBACK, part)
    np.testing.assert_allclose(found[40:1901], direct(policy, world.features, part), rtol=0, atol=5e-6)

    features = np.random.default_rng(1).normal(size=(20_000, FEATURES)).astype(np.float32)
    long = Window(first=LOOKBACK - 1, last=19_999)
    whole = policy.features_extractor.network.encode_series(torch.from_numpy(features)).detach().numpy()
    np.testing.assert_allclose(latents(policy, features, LOOKBACK, long)[LOOKBACK - 1 :], whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "wrong"),
    [
        (Late, "it differs from the windows one by one, by"),
        (Off, "it differs from the windows one by one, by"),
        (Wide, "it differs from the windows one by one, by"),
        (Short, "it returned shape"),
        (Raises, "it raised KeyError: 'hidden'"),
    ],
)
def test_a_series_that_is_not_its_windows_is_refused_by_name(network, wrong, world):
    with pytest.raises(PluginError, match="encode_series of an extractor broke its contract") as caught:
        latents(made(network, world), world.features, LOOKBACK, world.window)

    assert wrong in caught.value.what
    assert caught.value.facts["who"].endswith(network.__name__)


def test_a_series_that_rounds_otherwise_gives_way_to_its_windows(world):
    policy = made(Rough, world)

    found = latents(policy, world.features, LOOKBACK, world.window)

    part = slice(world.window.first, world.window.last + 1)
    np.testing.assert_allclose(found[part], direct(policy, world.features, world.window), rtol=0, atol=5e-6)


# What is kept on disk


def test_what_is_kept_is_read_again_and_gives_the_same(world, tmp_path):
    policy = policy_of(Lstm(hidden=8), world.features)
    first = world.lead(turn_of(policy, world, folder=tmp_path / "kept"))

    (file,) = (tmp_path / "kept").iterdir()
    stored = np.load(file, allow_pickle=False)
    again = world.lead(turn_of(policy, world, folder=tmp_path / "kept"))

    assert len(file.stem) == 64
    assert stored.shape == (world.window.bars, 8)
    assert again.actions.tolist() == first.actions.tolist()
    assert again.account.trades[0].tolist() == first.account.trades[0].tolist()
    stored[77] = 0.25  # between the rows that are looked at again
    np.save(file, stored)
    read = latents(policy, world.features, LOOKBACK, world.window, tmp_path / "kept")
    assert (read[world.window.first + 77] == 0.25).all()


def test_other_weights_features_and_windows_are_other_files(world, tmp_path):
    policy = policy_of(Lstm(hidden=8), world.features)
    expected = latents(policy, world.features, LOOKBACK, world.window, tmp_path)
    with torch.no_grad():
        policy.action_net.weight.add_(1.0)  # behind the extractor: of no concern
    latents(policy, world.features, LOOKBACK, world.window, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1

    other = world.features.copy()
    other[1000, 2] += 1e-3
    assert not np.array_equal(latents(policy, other, LOOKBACK, world.window, tmp_path), expected, equal_nan=True)
    latents(policy, world.features, LOOKBACK, Window(first=30, last=90), tmp_path)
    with torch.no_grad():
        policy.features_extractor.network.memory.weight_hh_l0[0, 0] += 0.01
    assert not np.array_equal(
        latents(policy, world.features, LOOKBACK, world.window, tmp_path), expected, equal_nan=True
    )
    assert len(list(tmp_path.iterdir())) == 4


def test_only_the_sixteen_newest_are_kept(world, tmp_path):
    policy = made(Plain, world)
    windows = [Window(first=LOOKBACK - 1, last=last) for last in range(40, 58)]
    for window in windows[:16]:
        latents(policy, world.features, LOOKBACK, window, tmp_path)
    before = set(tmp_path.iterdir())
    latents(policy, world.features, LOOKBACK, windows[0], tmp_path)  # used again: newest of all
    for window in windows[16:]:
        latents(policy, world.features, LOOKBACK, window, tmp_path)
    after = set(tmp_path.iterdir())

    assert len(before) == len(after) == 16
    shown = policy.features_extractor.network.shown
    shown.clear()
    latents(policy, world.features, LOOKBACK, windows[0], tmp_path)
    assert sum(shown) == 8


def junk(content, kind):
    """Return a kept file's bytes, broken."""
    array = np.frombuffer(content[-5 * 4 * 100 :], np.float32)
    return {
        "cut": content[:-1],
        "longer": content + b"0",
        "empty": b"",
        "header alone": content[:128],
        "zeros": content[:128] + bytes(len(content) - 128),
        "nan": content[:-4] + np.float32(np.nan).tobytes(),
        "text": b"latents",
        "zip": b"PK\x03\x04" + content[4:],
        "other type": content.replace(b"<f4", b"<i4"),
        "objects": content.replace(b"<f4", b"|O "),
        "other version": content[:6] + b"\x03" + content[7:],
        "other rows": content[:-400] + array[:100][::-1].tobytes(),
    }[kind]


@pytest.mark.parametrize("kind", ["cut", "longer", "empty", "header alone", "zeros", "nan", "text", "zip",
                                  "other type", "objects", "other version", "other rows"])  # fmt: skip
def test_a_broken_file_is_made_anew(kind, world, tmp_path):
    policy, part = policy_of(Lstm(hidden=8), world.features), Window(first=40, last=240)
    expected = latents(policy, world.features, LOOKBACK, part, tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(junk(content, kind))

    found = latents(policy, world.features, LOOKBACK, part, tmp_path)

    assert np.array_equal(found, expected, equal_nan=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]


@pytest.fixture(scope="module")
def plain(world):
    return made(Plain, world)


@hypothesis.given(st.binary(max_size=300), st.integers(0, 140))
@hypothesis.settings(
    deadline=None, max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_no_bytes_disturb_it(world, plain, tmp_path, noise, kept):
    policy, part = plain, Window(first=40, last=60)
    folder = tmp_path / "kept"
    expected = latents(policy, world.features, LOOKBACK, part, folder)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:kept] + noise)

    assert np.array_equal(latents(policy, world.features, LOOKBACK, part, folder), expected, equal_nan=True)
    shutil.rmtree(folder)


def test_a_folder_that_cannot_be_written_keeps_nothing(world, tmp_path):
    (tmp_path / "file").write_text("in the way")
    policy, part = made(Plain, world), Window(first=40, last=60)

    found = latents(policy, world.features, LOOKBACK, part, tmp_path / "file" / "kept")

    assert np.array_equal(found, latents(policy, world.features, LOOKBACK, part), equal_nan=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_other_code_with_the_same_weights_does_not_use_what_is_kept(world, tmp_path):
    policy, part = made(Plain, world), Window(first=40, last=240)
    latents(policy, world.features, LOOKBACK, part, tmp_path)
    network = policy.features_extractor.network
    network.forward = lambda windows: torch.tanh(network.widen(windows.amax(dim=1)))

    found = latents(policy, world.features, LOOKBACK, part, tmp_path)

    np.testing.assert_allclose(found[40:241], direct(policy, world.features, part), rtol=0, atol=5e-6)


def test_a_turn_without_latents_is_decided_outside(world):
    turn = Turn(window=Window(first=0, last=50), lookback=LOOKBACK, decide=lambda _bar, _position: 0)

    found = world.lead(turn)

    assert (found.decided, found.unsure) == (50, 0)
