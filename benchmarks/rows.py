"""The rows of the table: what is measured, against what, and what is to be reached."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import engine, kernel, model, sizer, startup, technical
from benchmarks.environment import Peers, PeersMissingError
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
