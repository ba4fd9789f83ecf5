"""Steps and entries as rewards and sizers see them: of the compiled simulator, on made markets."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.api.values import Action, Entry, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnqcore.simulator import Account
    from mnqcore.testing.subject import Subject

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Recording = list[tuple["Bools | None", Step]]

PATHS = {
    "usual": ("usual", "random orders in a usual market"),
    "a beginning": ("usual", "random orders from the first bar of all on, as in a backtest"),
    "flat": ("usual", "no order at all"),
    "trend": ("trend", "random orders while prices only rise"),
    "crash": ("crash", "random orders around a crash"),
    "gaps": ("gaps", "random orders over gaps and a roll"),
    "no volume": ("no volume", "random orders where nothing is traded"),
    "no movement": ("no movement", "random orders while prices stand still"),
    "ruin": ("crash", "a small account that is long in a crash"),
    "win": ("trend", "one trade that wins"),
    "loss": ("trend", "one trade that loses"),
}
"""path -> (market, what happens on it)."""
LANES = 5
_STEPS = 260
_BALANCE, _SMALL = 50_000.0, 4_000.0
_STOP_TICKS = 400
_BEFORE = 130  # bars of a market's middle, where most happens, before which a path begins
_STEP_FIELDS = tuple(field.name for field in attrs.fields(Step))


def recording(subject: Subject, path: str, *, seed: int = 0, lanes: int = LANES) -> Recording:
    """Return the steps of `lanes` accounts on a path, each with the accounts that begin anew before it."""
    signal = _signal(subject, PATHS[path][0])
    return _recorded(path, seed, lanes, signal)


def paid(subject: Subject, steps: Recording, *, reward: Any = None, spoil: bool = False) -> Floats:
    """Return what a fresh reward pays, (steps, n); `reward` goes on with one that has a past.

    Args:
        subject: the reward.
        steps: what it sees.
        reward: a Judge that is asked on, and not told that anything begins.
        spoil: write over the arrays of a step once it has answered, as the simulator does.
    """
    from mnqcore.tape import calls

    judge = reward or calls.Judge(subject.choice)
    if reward is None:
        judge.reset(np.ones(len(steps[0][1].equity), np.bool_))
    found = []
    for fresh, step in steps:
        if fresh is not None:
            judge.reset(fresh.copy())
        given, buffers = _lent(step) if spoil else (step, [])
        found.append(calls.rewards(judge, given).copy())
        for buffer in buffers:
            buffer.view(np.uint8)[:] = 77
    return np.array(found)


def alone(steps: Recording, lane: int) -> Recording:
    """Return what one account of many goes through."""
    at = slice(lane, lane + 1)
    return [(None if fresh is None else fresh[at], _only(step, at)) for fresh, step in steps]


def entries(subject: Subject, *, equity: float | None = None) -> list[Entry]:
    """Return entries of 1, 5 and 64 accounts, rich and poor, near and far stops; or all of one equity in dollars."""
    generator = np.random.default_rng(7)
    return [_entry(subject, generator, count, equity) for count in (1, 5, 64)]


def one_by_one(entry: Entry) -> list[Entry]:
    """Return each of the entries as one alone."""
    names = [field.name for field in attrs.fields(Entry)]
    count = len(entry.side)
    return [Entry(**{name: getattr(entry, name)[at : at + 1] for name in names}) for at in range(count)]


def _entry(subject: Subject, generator: np.random.Generator, m: int, equity: float | None) -> Entry:
    ticks = generator.integers(1, 800, m)
    if not getattr(subject.cls, "needs_stop", False):
        ticks[::5] = 0  # a bracket may set no stop
    balance = np.exp(generator.uniform(np.log(500), np.log(500_000), m)) if equity is None else np.full(m, equity)
    signals = _finite(_signal(subject, "usual"))
    columns = {
        "side": generator.choice((-1, 1), m),
        "price": generator.uniform(5_000, 25_000, m).round(),
        "stop_distance": ticks * 0.25,
        "stop_ticks": ticks,
        "tick_value": np.full(m, 0.5),
        "point_value": np.full(m, 2.0),
        "equity": balance.round(2),
        "wins": generator.integers(0, 40, m) * (generator.random(m) > 0.2),
        "losses": generator.integers(0, 40, m) * (generator.random(m) > 0.2),
        "average_win": generator.uniform(0, 300, m).round(2),
        "average_loss": generator.uniform(0, 300, m).round(2),
        "signal": generator.choice(signals, m),
        "max_contracts": generator.integers(0, 50, m),
        "lanes": np.arange(m),
    }
    columns["average_win"] *= columns["wins"] > 0
    columns["average_loss"] *= columns["losses"] > 0
    for column in columns.values():
        column.flags.writeable = False
    return Entry(**columns)


def _finite(signal: tuple[float, ...] | None) -> Floats:
    values = np.array(signal or (0.0,))
    values = values[np.isfinite(values)]
    return values if len(values) else np.zeros(1)


def _signal(subject: Subject, shape: str) -> tuple[float, ...] | None:
    """Return what `prepare` says of each bar, None without it."""
    from mnqcore.tape import calls

    if not callable(getattr(subject.cls, "prepare", None)):
        return None
    return tuple(calls.prepared(subject.choice, subject.build(), subject.view(shape, bars=1_500)).tolist())


@functools.lru_cache(maxsize=64)
def _recorded(path: str, seed: int, lanes: int, signal: tuple[float, ...] | None) -> Recording:
    account, first, balance = _account(path, lanes, signal)
    fresh: Bools | None = None
    found: Recording = []
    for row in _actions(path, seed, lanes):
        found.append((fresh, account.step(row, _sizes)))
        over = account.ledger["done"].astype(np.bool_)
        fresh = over if over.any() else None
        for lane in np.flatnonzero(over):
            account.begin(int(lane), first=first, last=len(account.tape) - 1, balance=balance)
    return found


def _account(path: str, lanes: int, signal: tuple[float, ...] | None) -> tuple[Account, int, float]:
    """Return accounts on a path's market, the bar at which they begin, and their balance."""
    from mnqcore.simulator import Account, rulebook
    from mnqcore.strategy.settings import Costs, Risk
    from mnqcore.testing.market import Made, market

    made = market(Made(shape=PATHS[path][0]))
    orders, balance = made.orders.copy(), _SMALL if path == "ruin" else _BALANCE
    orders["stop"] = 0 if path in ("ruin", "win", "loss") else _STOP_TICKS
    orders["reward_signal"] = 0.0 if signal is None else signal
    first = 0 if path == "a beginning" else _begins(len(made.tape), signal)
    law = rulebook(made.instrument, Costs(initial_balance=balance), Risk(max_position=3))
    account = Account(made.tape, orders, law, initial_balance=balance, lanes=lanes, first=first)
    return account, first, balance


def _begins(bars: int, signal: tuple[float, ...] | None) -> int:
    """Return the bar before most happens on a market of so many, or the first later one whose signal is known."""
    known = [] if signal is None else np.flatnonzero(np.isfinite(signal)).tolist()
    return max([bars // 2 - _BEFORE, *known[:1]])


def _actions(path: str, seed: int, lanes: int) -> NDArray[np.int8]:
    shape = (_STEPS, lanes)
    if path in ("win", "loss"):
        return np.full(shape, Action.BUY if path == "win" else Action.SELL, np.int8)
    if path in ("flat", "ruin"):
        return np.full(shape, Action.HOLD if path == "flat" else Action.BUY, np.int8)
    return np.random.default_rng([seed, 11]).choice(4, shape, p=(0.7, 0.12, 0.12, 0.06)).astype(np.int8)


def _sizes(entry: Entry) -> NDArray[np.int64]:
    return np.minimum(entry.max_contracts, 1 + entry.lanes % 3).astype(np.int64)


def _only(step: Step, at: slice) -> Step:
    return Step(**{name: getattr(step, name)[at] for name in _STEP_FIELDS})


def _lent(step: Step) -> tuple[Step, Sequence[NDArray[Any]]]:
    """Return a step in arrays that are written over later, read-only as the simulator's."""
    buffers = {name: np.array(getattr(step, name)) for name in _STEP_FIELDS}
    shown = {name: buffer.view() for name, buffer in buffers.items()}
    for column in shown.values():
        column.flags.writeable = False
    return Step(**shown), list(buffers.values())
