"""What a venue is started with, and its clock."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen(kw_only=True)
class Setup:
    """What a venue is started with; `start` and `end` are UTC nanoseconds, `speed` is None for lock-step."""

    file: str
    plugins: tuple[str, ...]
    account: str
    token: str
    speed: float | None
    slippage: int | None
    equity: float | None
    faults: tuple[str, ...]
    start: int | None
    end: int | None
    linger: float
    digest: str

    @classmethod
    def read(cls, folder: Path) -> Setup:
        """Read it from the venue's folder."""
        values = json.loads((folder / "setup.json").read_text(encoding="utf-8"))
        return cls(**values | {name: tuple(values[name]) for name in ("plugins", "faults")})


class Clock:
    """The time of the replay, UTC ns: at `speed` x real time it runs, in lock-step (None) it stands where it is set."""

    def __init__(self, speed: float | None, at: int) -> None:
        self.speed, self._at, self._since = speed, at, time.monotonic()

    def now(self) -> int:
        """Return the time."""
        if self.speed is None:
            return self._at
        return self._at + int((time.monotonic() - self._since) * self.speed * 1e9)

    def set(self, at: int) -> None:
        """Put it on."""
        self._at, self._since = at, time.monotonic()

    async def until(self, moment: int) -> None:
        """Wait until it shows a moment."""
        while self.speed is not None and (left := moment - self.now()) > 0:
            await asyncio.sleep(left / 1e9 / self.speed)
