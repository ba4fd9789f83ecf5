"""The rows of the table: what is measured, against what, and what is to be reached."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import accounts, engine, kernel, model, sizer, startup, technical, trading, training
from benchmarks.environment import Peers, PeersMissingError
from benchmarks.peers import ENV_STEPS
from benchmarks.timing import LOOP_HERE, LOOP_THERE
from benchmarks.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.timing import Times


@dataclass(frozen=True)
class Row:
    """A line of the table; `met` is None where nothing was compared, `broken` where that is a failure."""

    item: str
    mnq: str
    reference: str
    ratio: str
    target: str
    met: bool | None
    broken: bool = False


@dataclass(eq=False)
class Bench:
    """One run of the benchmarks: what several rows share is made once."""

    bars: int
    rounds: int
    with_peers: bool
    timesteps: int = 40_000
    traded: int = 20_000
    notes: list[str] = field(default_factory=list)
    models: dict[str, Times] = field(default_factory=dict)

    def model(self, extractor: str) -> Times:
        """A bar of a model with this extractor: two rows show it."""
        if extractor not in self.models:
            self.models[extractor], note = model.measure(self.work, self.rounds, extractor)
            self.notes.append(note)
        return self.models[extractor]

    @functools.cached_property
    def work(self) -> Workload:
        """The bars and signals of all rows."""
        return Workload.make(self.bars)

    @functools.cached_property
    def peers(self) -> Peers | None:
        """The peers, waiting; None where they are not wanted or cannot be run, and a note says why."""
        try:
            return Peers(self.work) if self.with_peers else None
        except PeersMissingError as error:
            self.notes.append(f"peers: {error}")
            return None

    @functools.cached_property
    def engine(self) -> Times:
        """The whole engine, the peers, and the bare loop in both environments."""
        try:
            return engine.measure(self.work, self.rounds, self.peers)
        finally:
            if self.peers:
                self.peers.close()


def _kernel(bench: Bench) -> Row:
    times = kernel.measure(bench.work, bench.rounds)
    ratio = times.ratio("kernel", "loop")
    made = times.seconds("account") * 1e3
    bench.notes.append(f"kernel: outside its time, as the loop's arrays are, the account is made in {made:.3f} ms")
    mnq, loop = (f"{times.seconds(name) * 1e3:.3f} ms" for name in ("kernel", "loop"))
    return Row("kernel, sizes as array", mnq, f"{loop} bare numba loop", f"{ratio:.2f}x", "<= 2x", ratio <= 2)


def _sizer(bench: Bench) -> Row:
    times, entries = sizer.measure(bench.work, bench.rounds)
    asked, given = times.seconds("asked"), times.seconds("given")
    each = (asked - given) / entries * 1e6
    reference = f"{given * 1e3:.2f} ms with an array"
    return Row(
        "plugin sizer in Python, per entry",
        f"{asked * 1e3:.2f} ms, {entries} entries",
        reference,
        f"{each:.1f} us",
        "<= 12 us",
        each <= 12,
    )


def _peer(name: str, label: str, least: float, bench: Bench) -> Row:
    times = bench.engine
    here = times.ratios("engine", LOOP_HERE)
    item, mnq = f"backtest against {label}", f"{times.seconds('engine') * 1e3:.1f} ms, {median(here):.0f} loops"
    target = f">= {least:g}x faster"
    if bench.peers is None:
        why = "no peer, see below" if bench.with_peers else "not run (--no-peers)"
        return Row(item, mnq, why, "", target, None, broken=bench.with_peers)
    there = times.ratios(name, LOOP_THERE)
    ratio = median(peer / own for peer, own in zip(there, here, strict=True))
    reference = f"{times.seconds(name) * 1e3:.0f} ms, {median(there):.0f} loops"
    version = bench.peers.facts[name]["version"]
    return Row(f"{item} {version}", mnq, reference, f"{ratio:.1f}x", target, ratio >= least)


def _technical(bench: Bench) -> Row:
    times = technical.measure(bench.work, bench.rounds)
    ratio = times.ratio("technical", "by hand")
    mnq, hand = (f"{times.seconds(name) * 1e3:.0f} ms" for name in ("technical", "by hand"))
    return Row("technical, 11 indicators", mnq, f"{hand} library by hand", f"{ratio:.2f}x", "<= 1.3x", ratio <= 1.3)


def _startup(bench: Bench) -> Row:
    times = startup.measure(bench.rounds)
    ratio = times.ratio("help", "python")
    mnq, python = (f"{times.seconds(name) * 1e3:.0f} ms" for name in ("help", "python"))
    return Row("mnq --help, whole process", mnq, f"{python} python -c pass", f"{ratio:.1f}x", "<= 8x", ratio <= 8)


def _model(extractor: str, least: float, bench: Bench) -> Row:
    times = bench.model(extractor)
    ratio = times.ratio("predict", "backtest")
    mnq, predict = (f"{times.seconds(name) * 1e6:.1f} us a bar" for name in ("backtest", "predict"))
    item = f"model backtest, {extractor}"
    return Row(item, mnq, f"{predict} model.predict", f"{ratio:.1f}x", f">= {least:g}x", ratio >= least)


def _rerun(bench: Bench) -> Row:
    ratios = {name: bench.model(name).ratio("predict", "again") for name in model.EXTRACTORS}
    slowest = min(ratios, key=lambda name: ratios[name])
    times, ratio = bench.model(slowest), ratios[slowest]
    mnq, predict = (f"{times.seconds(name) * 1e6:.2f} us a bar" for name in ("again", "predict"))
    item = f"the same again, the least of three: {slowest}"
    return Row(item, mnq, f"{predict} model.predict", f"{ratio:.0f}x", ">= 500x", ratio >= 500)


def _accounts(observe: str, lanes: int, least: float, bench: Bench) -> Row:
    times = accounts.measure(bench.work, bench.rounds, lanes, observe)
    ratio = times.ratio("dummy", "mnq")
    mnq, dummy = (f"{times.seconds(name) * 1e6:.1f} us a step" for name in ("mnq", "dummy"))
    item = f"{lanes} accounts, {observe} observed"
    return Row(item, mnq, f"{dummy} DummyVecEnv", f"{ratio:.1f}x", f">= {least:g}x faster", ratio >= least)


def _single(bench: Bench) -> Row:
    times = bench.engine
    here = times.ratios("environment", LOOP_HERE)
    item, mnq = "one environment's step", f"{times.seconds('environment') / ENV_STEPS * 1e6:.1f} us"
    target = ">= 3.5x faster"
    if bench.peers is None:
        why = "no peer, see below" if bench.with_peers else "not run (--no-peers)"
        return Row(item, mnq, why, "", target, None, broken=bench.with_peers)
    there = times.ratios("gym-trading-env", LOOP_THERE)
    ratio = median(peer / own for peer, own in zip(there, here, strict=True))
    version = bench.peers.facts["gym-trading-env"]["version"]
    reference = f"{times.seconds('gym-trading-env') / ENV_STEPS * 1e6:.1f} us gym-trading-env {version}"
    return Row(item, mnq, reference, f"{ratio:.1f}x", target, ratio >= 3.5)


def _reward(bench: Bench) -> Row:
    times = accounts.measure_reward(bench.work, bench.rounds)
    ratio = times.ratio("plugin", "built in")
    plugin, built_in = (f"{times.seconds(name) * 1e6:.1f} us a step" for name in ("plugin", "built in"))
    return Row("plugin reward, 64 accounts", plugin, f"{built_in} built in", f"{ratio:.2f}x", "<= 1.3x", ratio <= 1.3)


def _ppo(extractor: str, least: float, bench: Bench) -> Row:
    times, differing = training.measure(bench.work, extractor, min(bench.rounds, _ITERATIONS))
    ratio = times.ratio("stock", "mnq")
    mnq, stock = (f"{training.COLLECTED / times.seconds(name):,.0f} bars/s" for name in ("mnq", "stock"))
    rounds = len(times.samples["mnq"])
    bench.notes.append(
        f"PPO, {extractor}: {rounds} rounds; parameters equal within {differing:.1e} after {training.EQUAL} iterations"
    )
    met = ratio >= least and differing <= training.WITHIN
    return Row(f"PPO, {extractor}", mnq, f"{stock} stock", f"{ratio:.2f}x", f">= {least:.1f}x faster", met)


def _buffer(bench: Bench) -> Row:
    small, large = training.observation_bytes(bench.work)
    ratio = large / small
    item, mnq = "observations of a rollout", f"{small / 1e6:.2f} MB"
    return Row(item, mnq, f"{large / 1e6:.2f} MB windows", f"1/{ratio:.0f}", "<= 1/150", ratio >= 150)


def _seeds(bench: Bench) -> Row:
    alone, together = training.seeds(bench.timesteps, min(bench.rounds, _TRAININGS))
    ratio = training.ratio_of_seeds(alone, together)
    bench.notes.append("two seeds: wall time, from the start of the command to the end of the run")
    mnq, reference = f"{median(together):.0f} s on 2 processes", f"{median(alone):.0f} s one after the other"
    return Row("two seeds, wall time", mnq, reference, f"{ratio:.2f}x", ">= 1.7x", ratio >= 1.7)


_ITERATIONS = 5


def _replay(bench: Bench) -> Row:
    taken = [trading.replayed(bench.traded) for _ in range(max(1, bench.rounds // 4))]
    pace = median(one.bars / one.seconds for one in taken)
    return Row("session: replay, journal on", f"{pace:,.0f} bars/s", "", "", ">= 500 bars/s", pace >= 500)


def _order(bench: Bench) -> Row:
    taken = trading.with_model(bench.traded)
    middle, worst = taken.quantile(0.5) * 1e3, taken.quantile(0.99) * 1e3
    bench.notes.append(
        f"session with an LSTM: {len(taken.orders):,} orders in {taken.bars:,} bars, {median(taken.journal):.0%} of "
        f"their time in the journal (fsync)"
    )
    cells = f"{middle:.2f} ms, p99 {worst:.2f}"
    return Row("session: bar to order, LSTM", cells, "", "", "<= 2 ms, p99 10", middle <= 2 and worst <= 10)


def _live(bench: Bench) -> Row:
    taken = trading.live(min(bench.traded, 600))
    middle = median(taken.rows) * 1e3
    return Row("session: technical on a live bar", f"{middle:.1f} ms", "", "", "<= 60 ms", middle <= 60)


_TRAININGS = 1
"""Rounds of what takes minutes."""

ROWS: dict[str, Callable[[Bench], Row]] = {
    "kernel": _kernel,
    "sizer": _sizer,
    "backtesting": functools.partial(_peer, "backtesting", "backtesting.py", 3.7),
    "vectorbt": functools.partial(_peer, "vectorbt", "vectorbt", 7.0),
    "technical": _technical,
    "startup": _startup,
    "model-lstm": functools.partial(_model, "lstm", 20),
    "model-gru": functools.partial(_model, "gru", 25),
    "model-attention": functools.partial(_model, "attention", 40),
    "model-again": _rerun,
    "bar-8": functools.partial(_accounts, "bar", 8, 15),
    "bar-64": functools.partial(_accounts, "bar", 64, 60),
    "window-8": functools.partial(_accounts, "window", 8, 8),
    "window-64": functools.partial(_accounts, "window", 64, 12),
    "single": _single,
    "reward": _reward,
    "ppo-attention": functools.partial(_ppo, "attention", 3),
    "ppo-lstm": functools.partial(_ppo, "lstm", 1),
    "ppo-gru": functools.partial(_ppo, "gru", 1),
    "buffer": _buffer,
    "seeds": _seeds,
    "trade-replay": _replay,
    "trade-order": _order,
    "trade-live": _live,
}
"""name -> what measures the row; the names are those of `--only`."""


def table(rows: list[Row]) -> str:
    """Return the rows as plain text."""
    head = ("item", "mnq", "reference", "ratio", "target", "met?")
    words = {True: "yes", False: "NO", None: "-"}
    lines: list[tuple[str, ...]] = [
        head,
        *((row.item, row.mnq, row.reference, row.ratio, row.target, words[row.met]) for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
