"""Which bars a learner trains on, is chosen by, and is tested on; always in that order of time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

from mnqcore.api.values import Window
from mnqcore.errors import DataError
from mnqcore.strategy.settings import Holdout

if TYPE_CHECKING:
    from mnqcore.strategy.settings import Split, WalkForward

_LEAST = 2
"""Bars of a window: one to decide at, and one to fill in."""


@attrs.frozen(kw_only=True)
class Fold:
    """One training and its test; `number` counts from 1.

    Between `train` and `validate`, and between `validate` and `test`, lie the embargo's bars, which nobody trades.
    """

    number: int
    train: Window
    validate: Window
    test: Window


def folds(split: Split, first: int, bars: int) -> tuple[Fold, ...]:
    """Return the folds of a split: one of a holdout, as many as it says of a walk-forward.

    The shares are of the bars that can be decided on. The embargo is taken from the end of the earlier window, so that
    it moves neither `validate` nor `test`. The test windows of a walk-forward follow each other without a gap: each
    begins at the bar at whose close the one before ends, so the two share that bar. One account
    can run through all of them, and every bar but the very last is decided on once: a window decides at the closes of
    `first` to `last - 1`.

    Args:
        split: how to part.
        first: the first bar that can be decided on: its features are complete, and so is the window before it.
        bars: of the whole tape.

    Raises:
        DataError: a window would hold fewer than two bars.
    """
    edges = _holdout(split, bars - first) if isinstance(split, Holdout) else _walk(split, bars - first)
    found = [
        Fold(
            number=number,
            train=Window(first=first + start, last=first + validate - 1 - split.embargo_bars),
            validate=Window(first=first + validate, last=first + test - 1 - split.embargo_bars),
            test=Window(first=first + test, last=first + end),
        )
        for number, (start, validate, test, end) in enumerate(edges, 1)
    ]
    for fold in found:
        _refuse_short(fold, split, bars, max(bars - first, 0))
    return tuple(found)


def _holdout(split: Holdout, count: int) -> list[tuple[int, int, int, int]]:
    """Return where train, validate and test begin, and the last bar, counted from the first that can be decided on."""
    validate, test = round(count * split.train), round(count * (split.train + split.validate))
    return [(0, validate, test, count - 1)]


def _walk(split: WalkForward, count: int) -> list[tuple[int, int, int, int]]:
    """Return the same of each fold."""
    window = round(count * split.train)
    starts = [window + (count - 1 - window) * number // split.folds for number in range(split.folds + 1)]
    found = []
    for test, end in itertools.pairwise(starts):
        length = test if split.anchored else window
        found.append((test - length, test - round(length * split.validate), test, end))
    return found


def _refuse_short(fold: Fold, split: Split, bars: int, count: int) -> None:
    windows = {"train": fold.train, "validate": fold.validate, "test": fold.test}
    name, shortest = min(windows.items(), key=lambda item: item[1].bars)
    if shortest.bars >= _LEAST:
        return
    one = isinstance(split, Holdout)
    keys = (name, "embargo_bars") if name != "test" else ("train", "validate") if one else ("folds", "train")
    window = name if one else f"{name} of fold {fold.number}"
    raise DataError(
        "the bars are too few for the split",
        where=f"{window} would hold {max(shortest.bars, 0)} of the {_LEAST} bars it needs",
        found=f"{bars} bars, {count} of them with complete features and lookback",
        next="take more bars, or change split: " + ", ".join(f"{key} = {getattr(split, key)}" for key in keys),
    )
