"""Says how far a training is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

_PAUSE = 30.0
"""Seconds between two lines."""


class Meter:
    """Shows bars done, bars a second and the time left on stderr; a context that closes what it opened.

    Args:
        how: "bar", "lines" or "" for nothing.
        total: bars of the whole training.
        label: what is trained.
    """

    def __init__(self, how: str, total: int, label: str) -> None:
        self._how, self._total, self._label = how, total, label
        self._bar: Any = None
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Meter:
        if self._how == "bar":
            import tqdm

            self._bar = tqdm.tqdm(
                total=self._total, desc=self._label, unit="bar", unit_scale=True, ncols=79, ascii=True, leave=False
            )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int) -> None:
        """Say that so many bars are done."""
        if self._first is None:
            self._first = done  # a resumed training has not done these now
            if self._bar is not None:
                self._bar.initial = self._bar.n = done
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif self._how == "lines" and time.monotonic() - self._told >= _PAUSE:
            self._told = time.monotonic()
            print(self._line(done, self._told - self._began), file=sys.stderr, flush=True)  # noqa: T201

    def _line(self, done: int, seconds: float) -> str:
        pace = (done - (self._first or 0)) / seconds
        left = f", {(self._total - done) / pace / 60:.0f} min left" if pace > 0 else ""
        return f"{self._label}: {done:,} of {self._total:,} bars, {pace:,.0f} a second{left}"
