"""What each kind's answer must look like before anything else of it can be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.testing.market import LENGTHS, SHAPES
from mnqcore.testing.mistakes import NOT_FINITE, likely
from mnqcore.testing.verdict import Fault, Inapplicable, NotAsked, check, raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.testing.subject import Subject

_OTHERS: tuple[dict[str, Any], ...] = (
    *({"bars": bars} for bars in LENGTHS),
    *({"shape": shape} for shape in SHAPES),
    {"instrument": "ES", "bar_size": "15min", "bars": 900},
)
"""Markets on which the columns must be the same."""
_SHAPES = ((12, 5), (1, 1), (7, 13))
"""(lookback, features) of windows."""
_LONGEST = 100  # characters of a text


def faults_of(subject: Subject, call: Callable[[], object], column: str = "") -> Iterator[Fault]:
    """Yield what a call raises; where it is a number that is not finite, with what makes such numbers."""
    try:
        call()
    except NotAsked:
        raise
    except Exception as error:
        fault, where, mistake = raised(error, subject), "", ""
        if any(word in fault.text.split("(")[0] for word in ("nan", "inf")):
            where, mistake = likely(subject, NOT_FINITE, column, strict=True)
        text = fault.text if len(fault.text) <= _LONGEST else f"{fault.text[:_LONGEST]}..."
        yield Fault(text, where or fault.where, mistake or fault.likely)


@check("contract", "features", rule="`compute` returns float columns of different names, a row a bar, never infinite.")
def of_features(subject: Subject) -> Iterator[Fault]:
    """See to the shape of a feature set's columns."""
    from mnqcore.tape import calls

    yield from faults_of(subject, lambda: calls.features(subject.choice, "", subject.view()))


@check("same columns", "features")
def same_columns(subject: Subject) -> Iterator[Fault]:
    """The columns, and their types, are the same on every market and every length of history."""
    usual = _columns(subject.build().compute(subject.view()))
    for other in _OTHERS:
        found = _columns(subject.build().compute(subject.view(**other)))
        if found != usual:
            subject.kept["fickle"] = True
            yield Fault(f"the columns are {_text(usual)}, but {_text(found)} on {_words(other)}", subject.place())
            return


@check("contract", "bracket", rule="`levels` returns `stop`, and `target` if it sets one: above 0 or NaN, a row a bar.")
def of_brackets(subject: Subject) -> Iterator[Fault]:
    """See to the shape of a bracket's distances."""
    from mnqcore.tape import calls

    for bars in (None, *LENGTHS):
        view = subject.view() if bars is None else subject.view(bars=bars)
        faults = list(faults_of(subject, lambda view=view: calls.levels(subject.choice, view), "stop"))  # type: ignore[misc]
        if faults:
            yield faults[0]
            return


@check("contract", "agent", rule="`signals` returns whole numbers, 0 HOLD 1 BUY 2 SELL 3 CLOSE, one a bar.")
def of_rules(subject: Subject) -> Iterator[Fault]:
    """See to the shape and the range of a rule's signals."""
    from mnqcore.tape import calls

    if subject.learns:
        raise Inapplicable("it learns")
    calls.signals(subject.choice, subject.view())
    return iter(())


@check("contract", "reward", rule="It pays one finite number an account, of a size that float32 holds.")
def of_rewards(subject: Subject) -> Iterator[Fault]:
    """See to the rewards of random orders in a usual market."""
    from mnqcore.testing.paths import paid, recording

    found: list[NDArray[np.float64]] = []
    yield from faults_of(subject, lambda: found.append(paid(subject, recording(subject, "usual"))))
    largest = max((float(np.abs(one).max(initial=0.0)) for one in found), default=0.0)
    if largest > float(np.finfo(np.float32).max):
        yield Fault(f"it pays {largest:.3g}: a learner takes float32", subject.place())


@check(
    "contract", "sizer", rule="It answers whole contracts, 0 or more, one an entry, rich and poor, near and far stops."
)
def of_sizers(subject: Subject) -> Iterator[Fault]:
    """See to the sizes of made entries."""
    from mnqcore.tape import calls
    from mnqcore.testing.paths import entries

    for entry in entries(subject):
        found = list(faults_of(subject, lambda entry=entry: calls.size_of(subject.choice, subject.build())(entry)))  # type: ignore[misc]
        if found:
            yield found[0]
            return


@check("contract", "extractor", rule="Windows (batch, lookback, n_features) become finite float32 (batch, latent).")
def of_extractors(subject: Subject) -> Iterator[Fault]:
    """See to the shape of latents, of windows and batches of several sizes."""
    import torch

    from mnqcore.testing.networks import built, encoded, spec, windows

    for sizes in _SHAPES:
        network, widths = built(subject, spec(*sizes)).eval(), set()
        for batch in (0, 1, 3):
            found = encoded(network, windows(batch, spec(*sizes)))
            if found.ndim != 2 or len(found) != batch or found.dtype != torch.float32:
                text = f"of {batch} windows of {sizes} it makes {found.dtype} of shape {tuple(found.shape)}"
                yield Fault(text, subject.place(), "return (batch, latent) in float32")
                return
            if not bool(torch.isfinite(found).all()):
                yield Fault(f"latents of windows of {sizes} are not finite", subject.place())
                return
            widths.add(found.shape[1])
        if len(widths) > 1:
            yield Fault(f"the width depends on the batch: {sorted(widths)}", subject.place())


@check("contract", "data", rule="`bars` returns float64 open high low close volume, UTC bar starts in order, unique.")
def of_data(subject: Subject) -> Iterator[Fault]:
    """See to the shape of the bars."""
    from mnqcore.testing.checks.data import bars_of

    if bars_of(subject).empty:
        yield Fault("it returned no bar", subject.place(), "raise DataError where there is nothing")


@check("prepare", "sizer", "reward", rule="`prepare`, where there is one, returns a number a bar.")
def of_prepare(subject: Subject) -> Iterator[Fault]:
    """See to the shape of what is worked out from bars beforehand."""
    from mnqcore.tape import calls

    if not callable(getattr(subject.cls, "prepare", None)):
        raise Inapplicable("it prepares nothing")
    calls.prepared(subject.choice, subject.build(), subject.view())
    return iter(())


def _columns(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


def _text(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items()) or "none"


def _words(made: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in made.items()).replace("_", " ")
