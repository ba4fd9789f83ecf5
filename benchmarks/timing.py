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

    def ratio(self, name: str, reference: str) -> float:
        """Return the median over the rounds of one contestant's time by another's: a slow spell hits both."""
        pairs = zip(self.samples[name], self.samples[reference], strict=True)
        return median(one / other for one, other in pairs)


def alternate(contestants: Mapping[str, Contestant], rounds: int) -> Times:
    """Time contestants in turns, A, B, A, B, ..., after one round that does not count."""
    for contestant in contestants.values():
        _seconds(contestant)
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            samples[name].append(_seconds(contestant))
    return Times(samples)


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
