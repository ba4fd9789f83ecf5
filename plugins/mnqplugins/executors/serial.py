"""One piece of work after the other, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@plugin
class Serial:
    """Do one piece of work after the other, here."""

    def map(self, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
        """Return the answer to each item, in their order; the first failure ends it."""
        return [unit_of_work(item) for item in items]
