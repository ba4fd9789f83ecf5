"""The fault script of the simulated broker: a stub until the next commit."""

from __future__ import annotations
from typing import Any


class Script:
    def __init__(self, faults: tuple[str, ...] = ()) -> None:
        self.away = 0
        self.skew = 0

    def begin(self, bar: int) -> None: ...
    def opened(self, exchange: Any, slot: Any) -> None: ...
    def closed(self, exchange: Any, slot: Any) -> None: ...
    def items(self, item: Any, columns: Any) -> list[Any]:
        return [item]

    def through(self, events: list[Any]) -> list[Any]:
        return events


def parse(text): ...
