"""What a piece answers on a made market: arrays that must be the same each time, in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.testing.verdict import Inapplicable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnqcore.testing.subject import Subject

    Answer = list[NDArray[Any]]

LOOKBACK, FEATURES = 12, 5
"""The shape of the windows that networks are tried on."""


def answer(subject: Subject) -> Answer:
    """Return what a fresh instance answers; Inapplicable where its kind has no answer to compare."""
    if subject.learns or subject.kind == "broker":
        raise Inapplicable("it has no answer of its own before it is trained, or connected")
    return _ANSWERS[subject.kind](subject)


def _columns(subject: Subject) -> Answer:
    from mnqcore import causality
    from mnqcore.testing.checks.causal import compute_of

    found = causality.computed(compute_of(subject), subject.view())
    return [found.to_numpy(np.float64)]


def _rewards(subject: Subject) -> Answer:
    from mnqcore.testing.paths import paid, recording

    return [paid(subject, recording(subject, "usual"))]


def _sizes(subject: Subject) -> Answer:
    from mnqcore.tape import calls
    from mnqcore.testing.paths import entries

    sized = calls.size_of(subject.choice, subject.build())
    return [sized(entry) for entry in entries(subject)]


def _latents(subject: Subject) -> Answer:
    from mnqcore.testing.networks import built, encoded, windows

    return [encoded(built(subject).eval(), windows(4)).numpy()]


def _bars(subject: Subject) -> Answer:
    from mnqcore.testing.checks.data import bars_of

    bars = bars_of(subject)
    return [bars[column].to_numpy() for column in ("open", "high", "low", "close", "volume")]


def _texts(subject: Subject) -> Answer:
    from mnqcore.testing.checks.executors import ITEMS, shout

    return [np.array([text.encode() for text in subject.build().map(shout, ITEMS)])]


_ANSWERS: dict[str, Callable[[Subject], Answer]] = {
    "features": _columns,
    "bracket": _columns,
    "agent": _columns,
    "reward": _rewards,
    "sizer": _sizes,
    "extractor": _latents,
    "data": _bars,
    "executor": _texts,
}
"""kind -> how it is asked."""


def differs(one: Answer, other: Answer, within: float = 1e-9) -> str:
    """Return how two answers differ, "" where they are the same."""
    if [part.shape for part in one] != [part.shape for part in other]:
        return f"shapes {[part.shape for part in one]} and {[part.shape for part in other]}"
    for left, right in zip(one, other, strict=True):
        if left.dtype.kind not in "fiub":
            if not np.array_equal(left, right):
                return "other texts"
        elif not np.allclose(left, right, rtol=within, atol=within * _size(left), equal_nan=True):
            with np.errstate(invalid="ignore"):
                off = np.nanmax(np.abs(left.astype(np.float64) - right.astype(np.float64)))
            return f"by up to {off:.3g}"
    return ""


def _size(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max(initial=1e-300))
