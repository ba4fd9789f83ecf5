"""A lane led by a small network against the same network in plain numpy, one step of the account at a time."""

import itertools
from typing import Any

import attrs
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mnqcore.agent.head import Head
from mnqcore.agent.runner import Turn, lead
from mnqcore.api.values import Window
from mnqcore.rules import OFF
from mnqcore.simulator import following
from mnqcore.simulator.account import Account
from mnqcore.simulator.observation import position_info
from tests.tapes import random_case
from tests.test_simulator import sizer, trades

LATENT, LOOKBACK = 5, 7


@attrs.frozen
class Network:
    """Layers of (inputs, outputs) weights and biases in float64, the first one on latent and position."""

    matrices: list[np.ndarray]
    biases: list[np.ndarray]
    rectified: bool

    def prefer(self, latent, position):
        """Return four preferences."""
        values = np.concatenate((latent, position)).astype(np.float64)
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            if number:
                values = np.maximum(values, 0.0) if self.rectified else np.tanh(values)
            values = values @ matrix + bias
        return values

    def head(self, guard=1e-4):
        """Return it as the compiled code takes it."""
        flat = [self.matrices[0][LATENT:].ravel()]
        for matrix, bias in zip(self.matrices[1:], self.biases[1:], strict=True):
            flat += [matrix.ravel(), bias]
        return Head(
            entry=np.ascontiguousarray(self.matrices[0][:LATENT], np.float32),
            bias=self.biases[0].astype(np.float32),
            weights=np.concatenate(flat).astype(np.float32),
            widths=np.array([len(bias) for bias in self.biases], np.int64),
            rectified=self.rectified,
            guard=guard,
        )


def random_network(rng, widths=None, scale=1.5):
    """Return a Network whose position counts for much."""
    widths = widths or rng.choice([1, 2, 3, 4, 5, 8, 17, 64], size=rng.integers(1, 4)).tolist()
    sizes = [LATENT + 4, *widths, 4]
    matrices: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    for inputs, outputs in itertools.pairwise(sizes):
        drawn = rng.normal(size=(inputs, outputs)) * scale / np.sqrt(inputs)
        drawn[LATENT:] *= 1 if matrices else 2
        matrices.append(drawn.astype(np.float32).astype(np.float64))
        biases.append(rng.normal(size=outputs).astype(np.float32).astype(np.float64))
    return Network(matrices, biases, bool(rng.integers(2)))


def world(seed):
    """Return a Case, half of them long and of an account that lasts."""
    if seed % 2:
        return random_case(seed)
    case = random_case(seed, bars=300)
    return case._replace(initial=50 * case.initial)


def led(case, network, latents, *, head, window=None, decide=None, start=0):
    """Return what a lane comes to; bars that are not clear are decided by the network itself."""
    window = window or Window(first=0, last=len(case.tape) - 1)
    if decide is None:

        def decide(bar, position):
            return int(network.prefer(latents[bar], position).argmax())

    turn = Turn(window=window, lookback=LOOKBACK, decide=decide, head=head, latents=latents)
    return lead(
        [turn], case.tape, case.orders, case.law, initial_balance=case.dollars, size_of=sizer(), start=start
    )  # fmt: skip


def noting(calls, choose):
    """Return a decision that follows from the bar, whose bars are noted."""

    def decide(bar, _position):
        calls.append(bar)
        return choose(bar)

    return decide


def stepped(case, window, choose):
    """Return (account, actions, trades) of steps one by one; choose(bar, position) reckons with what steps report."""
    account = Account(case.tape, case.orders, case.law, initial_balance=case.dollars, first=window.first)
    account.begin(0, first=window.first, last=window.last, balance=case.dollars)
    actions, booked, equity = np.zeros(len(case.tape), np.int8), [], np.full(len(case.tape), case.initial, np.int64)
    seen: Any = (0, 0.0, 0, case.dollars, case.dollars, LOOKBACK)
    while not account.ledger["done"][0]:
        bar = int(account.ledger["bar"][0])
        actions[bar] = choose(bar, np.array(position_info(*seen), np.float32))
        step = account.step(actions[bar : bar + 1], sizer())
        booked += [row.copy() for row in account.step_trades[0, : account.ledger["trades"][0]]]
        equity[bar + 1 :] = account.ledger["equity"][0]
        names = ("position", "unrealised", "bars_held", "equity", "initial_balance")
        seen = (*(float(getattr(step, name)[0]) for name in names), LOOKBACK)
    return account, actions, trades(booked), equity


@pytest.mark.parametrize("seed", range(60))
def test_it_does_what_the_network_says_step_by_step(seed):
    rng, case = np.random.default_rng(seed), world(seed)
    bars = len(case.tape)
    network, latents = random_network(rng), rng.normal(size=(bars, LATENT)).astype(np.float32)
    window = Window(first=0, last=bars - 1) if seed % 3 or bars < 6 else Window(first=2, last=bars - 2)

    fast = led(case, network, latents, head=network.head(), window=window)
    account, actions, booked, equity = stepped(
        case, window, lambda bar, position: network.prefer(latents[bar], position).argmax()
    )

    assert fast.actions.tolist() == actions.tolist()
    assert trades(fast.account.trades[0]) == booked
    assert fast.equity[0].tolist() == equity.tolist()
    assert fast.account.denied.tolist() == account.denied.tolist()
    same = [name for name in account.ledger.dtype.names if name not in ("trades", "breaks")]
    assert fast.account.ledger[same].tolist() == account.ledger[same].tolist()
    assert fast.decided == account.ledger["bar"][0] - window.first


def test_all_actions_and_many_trades_occur_and_the_position_matters():
    seen, differ, closed = set(), 0, 0
    for seed in range(60):
        rng, case = np.random.default_rng(seed), world(seed)
        network, latents = random_network(rng), rng.normal(size=(len(case.tape), LATENT)).astype(np.float32)
        found = led(case, network, latents, head=network.head())
        flat = [int(network.prefer(latent, np.array([0, 0, 0, 1])).argmax()) for latent in latents]
        seen |= set(found.actions.tolist())
        differ += int(np.count_nonzero(found.actions[: found.decided] != flat[: found.decided]))
        closed += len(found.account.trades[0])

    assert seen == {0, 1, 2, 3}
    assert differ > 100
    assert closed > 100


def test_more_trades_than_there_is_room_for_at_first():
    case = random_case(5, bars=9000)
    for limit in ("max_loss", "max_daily_loss", "max_trades_per_day"):
        case.law[limit] = OFF
    case.law["cooldown_bars"] = 0
    case = case._replace(initial=10**15)
    calls: list[int] = []
    found = led(
        case, None, None, head=None, decide=noting(calls, lambda bar: 1 + bar % 2)
    )  # fmt: skip

    assert len(found.account.trades[0]) > 1024
    assert calls == list(range(8999))
    assert (found.ties, found.unsure, found.decided) == (0, 0, 8999)


def test_numbers_of_bars_are_those_of_the_whole_tape():
    rng, case = np.random.default_rng(3), random_case(3, bars=80)
    network, latents = random_network(rng), rng.normal(size=(80, LATENT)).astype(np.float32)
    part = case._replace(tape=case.tape[20:60], orders=case.orders[20:60])
    asked: list[int] = []

    whole = led(case, network, latents, head=network.head(), window=Window(first=20, last=59))
    cut = led(part, network, latents, head=network.head(), window=Window(first=20, last=59), start=20)
    led(
        part, network, latents, head=None, window=Window(first=20, last=59), start=20,
        decide=noting(asked, lambda _bar: 0),
    )  # fmt: skip

    assert cut.actions.tolist() == whole.actions[20:60].tolist()
    assert cut.equity[0].tolist() == whole.equity[0, 20:60].tolist()
    assert asked == list(range(20, 59))


@pytest.mark.parametrize(
    ("fill", "ties", "unsure"), [(0.0, 30, 30), (np.nan, 0, 30), (np.inf, 0, 30)], ids=["alike", "nan", "inf"]
)
def test_preferences_that_are_alike_or_no_numbers_are_left_to_python(fill, ties, unsure):
    case = random_case(1, bars=31)
    case.law["max_loss"] = OFF
    blank = Network([np.zeros((LATENT + 4, 3)), np.zeros((3, 4))], [np.zeros(3), np.full(4, fill)], True)

    found = led(case, None, np.zeros((31, LATENT), np.float32), head=blank.head(), decide=lambda _bar, _position: 3)

    assert (found.ties, found.unsure) == (ties, unsure)
    assert found.actions.tolist() == [3] * 30 + [0]


@pytest.mark.parametrize(("gap", "asked"), [(5e-7, True), (5e-5, True), (2e-4, False)])
@pytest.mark.parametrize("height", [0.5, 100.0])
def test_nearly_equal_preferences_are_asked_for_in_proportion_to_their_size(gap, asked, height):
    case, calls = random_case(1, bars=11), list[int]()
    case.law["max_loss"] = OFF
    gap *= max(1.0, height)
    last = np.array([0, 0, height, height + gap])
    liked = Network([np.zeros((LATENT + 4, 3)), np.zeros((3, 4))], [np.zeros(3), last], False)

    found = led(
        case, None, np.zeros((11, LATENT), np.float32), head=liked.head(),
        decide=noting(calls, lambda _bar: 0),
    )  # fmt: skip

    assert calls == (list(range(10)) if asked else [])
    assert found.actions.tolist() == [0 if asked else 3] * 10 + [0]
    assert found.unsure == 10 * asked
    assert found.ties == (10 if gap < 1e-6 else 0)


def test_a_size_below_0_is_an_error():
    case = random_case(4, bars=40)
    case.law["margin"] = 1
    case.orders["stop"] = 5
    turn = Turn(window=Window(first=0, last=39), lookback=LOOKBACK, decide=lambda bar, _position: 1 + bar % 2)

    with pytest.raises(ValueError, match="below 0: -1"):
        lead([turn], case.tape, case.orders, case.law, initial_balance=1e6, size_of=lambda _entry: np.array([-1]))


def test_turns_that_do_not_meet_are_an_error():
    case = random_case(4, bars=40)
    turns = [
        Turn(window=Window(first=first, last=last), lookback=LOOKBACK, decide=lambda _bar, _position: 0)
        for first, last in ((0, 10), (11, 39))
    ]

    with pytest.raises(ValueError, match="begins at bar 11, the one before ended at 10"):
        lead(turns, case.tape, case.orders, case.law, initial_balance=1e6, size_of=sizer())


@hypothesis.given(st.floats(-30, 30, width=32))
@hypothesis.settings(deadline=None, max_examples=300)
def test_the_hyperbolic_tangent_is_within_a_millionth(x):
    found = following.tanh(np.float32(x))

    assert abs(float(found) - np.tanh(x)) < 1e-6
    assert abs(found) <= 1.0000005


def test_preferences_are_those_of_the_plain_network():
    rng = np.random.default_rng(11)
    worst = 0.0
    for _ in range(200):
        network = random_network(rng, scale=1.0)
        head, latent = network.head(), rng.normal(size=LATENT).astype(np.float32)
        position = rng.normal(size=4).astype(np.float32)
        scratch = np.zeros((3, max(4, *head.widths)), np.float32)
        following.prefer(head.base(latent[None])[0], head.weights, head.widths, head.rectified, scratch, position)
        worst = max(worst, float(np.abs(scratch[2, :4] - network.prefer(latent, position)).max()))

    assert worst < 1e-5
