"""What a piece costs beside the built-in one of its kind: a ratio, for machines differ, and never a failure."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from mnqcore.errors import MnqError
from mnqcore.testing.verdict import Fault, Inapplicable, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnqcore.testing.subject import Subject

BESIDE = {
    "features": "technical",
    "reward": "differential-sharpe",
    "bracket": "atr",
    "sizer": "kelly",
    "extractor": "lstm",
    "agent": "breakout",
}
"""kind -> the built-in piece that it is measured beside."""
_SLOW = 5.0
"""Times as long as the built-in from which on it is told."""
_TRIES = 5
_LEAST = 0.01  # seconds that are measured at once


@check("speed", *BESIDE, advisory=True)
def speed(subject: Subject) -> Iterator[Fault]:
    """A call costs at most some times what the built-in piece of the kind costs."""
    from mnqcore.plugins import load
    from mnqcore.testing.subject import of_piece

    if subject.learns:
        raise Inapplicable("its training is what costs")
    try:
        plugins = load(environ={"MNQ_LOAD_PLUGINS": ""})
        other = of_piece(plugins.find(subject.kind, BESIDE[subject.kind]), plugins)
    except MnqError as error:
        raise Inapplicable("the built-in one is switched off") from error
    if (subject.distribution, subject.name) == (other.distribution, other.name):
        raise Inapplicable("it is the built-in one")
    ratio = _cost(subject) / _cost(other)
    if ratio > _SLOW:
        unit = " per column" if subject.kind == "features" else ""
        yield Fault(f"{ratio:.1f} x '{other.name}'{unit} (ratio only, no failure)")


def _cost(subject: Subject) -> float:
    """Return seconds of a call, of a column of features: the least of some tries."""
    call, units = _CALLS[subject.kind](subject)
    call()
    count, spent = 1, 0.0
    while (spent := _timed(call, count)) < _LEAST and count < 1_000:
        count *= 4
    return min(spent, *(_timed(call, count) for _ in range(_TRIES))) / count / units


def _timed(call: Callable[[], object], count: int) -> float:
    enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - began
    finally:
        if enabled:
            gc.enable()


def _columns(subject: Subject) -> tuple[Callable[[], object], int]:
    plugin, view = subject.build(), subject.view(bars=4_000, shape="usual")
    if subject.kind == "features":
        return lambda: plugin.compute(view), max(plugin.compute(view).shape[1], 1)
    return (lambda: plugin.levels(view) if subject.kind == "bracket" else plugin.signals(view)), 1


def _reward(subject: Subject) -> tuple[Callable[[], object], int]:
    import numpy as np

    from mnqcore.tape import calls
    from mnqcore.testing.paths import LANES, recording

    judge, step = calls.Judge(subject.choice), recording(subject, "usual")[9][1]
    judge.reset(np.ones(LANES, np.bool_))
    return (lambda: judge(step)), 1


def _sizer(subject: Subject) -> tuple[Callable[[], object], int]:
    from mnqcore.testing.paths import entries

    sizer, entry = subject.build(), entries(subject)[1]
    return (lambda: sizer(entry)), 1


def _extractor(subject: Subject) -> tuple[Callable[[], object], int]:
    from mnqcore.testing.networks import built, encoded, spec, windows

    shape = spec(30, 10)
    network, rows = built(subject, shape).eval(), windows(64, shape)
    return (lambda: encoded(network, rows)), 1


_CALLS: dict[str, Callable[[Subject], tuple[Callable[[], object], int]]] = {
    "features": _columns,
    "reward": _reward,
    "bracket": _columns,
    "sizer": _sizer,
    "extractor": _extractor,
    "agent": _columns,
}
"""kind -> what makes (a call to measure, units that it does)."""
