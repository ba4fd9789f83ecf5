"""The clock of all rows: CPU time of this process, contestants taking turns, the middle of several rounds.

Only the standard library is imported here, since the peers' environment uses it too.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOOP_HERE, LOOP_THERE = "loop here", "loop there"
"""The bare loop in this environment and in the peers': what the two are compared by."""


@dataclass(frozen=True)
class Contestant:
    """Something to be timed: `run(state)`, `repeat` times a round; `prepare()` makes each state outside the timing."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    repeat: int = 1


@dataclass(frozen=True)
class Times:
    """CPU seconds of one call, name -> one sample a round."""

    samples: dict[str, list[float]]

    def seconds(self, name: str) -> float:
        """Return the median of a contestant's rounds."""
        return median(self.samples[name])

    def ratios(self, name: str, reference: str) -> list[float]:
        """Return one contestant's time by another's, round by round: a slow spell hits both."""
        pairs = zip(self.samples[name], self.samples[reference], strict=True)
        return [one / other for one, other in pairs]

    def ratio(self, name: str, reference: str) -> float:
        """Return the median of `ratios`."""
        return median(self.ratios(name, reference))


def alternate(contestants: Mapping[str, Contestant], rounds: int) -> Times:
    """Time contestants in turns, A, B, A, B, ..., after one round that does not count."""
    return collect(lambda: one_round(contestants), rounds)


def collect(turn: Callable[[], dict[str, float]], rounds: int) -> Times:
    """Return the times of `rounds` rounds, after one that does not count."""
    turn()
    taken = [turn() for _ in range(rounds)]
    return Times({name: [seconds[name] for seconds in taken] for name in taken[0]})


def one_round(contestants: Mapping[str, Contestant]) -> dict[str, float]:
    """Return name -> CPU seconds of one call, each contestant timed once."""
    return {name: _seconds(contestant) for name, contestant in contestants.items()}


def _seconds(contestant: Contestant) -> float:
    states = [contestant.prepare() for _ in range(contestant.repeat)]
    gc.collect()
    gc.disable()  # as timeit does: whose turn a collection falls into is chance
    try:
        began = time.process_time()
        for state in states:
            contestant.run(state)
        return (time.process_time() - began) / contestant.repeat
    finally:
        gc.enable()
