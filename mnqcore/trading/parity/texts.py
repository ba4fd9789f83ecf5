"""Values of a proof as text, and when two of them are the same."""

from __future__ import annotations

import math

from mnqcore.api.values import Action


def same(one: float | None, other: float | None) -> bool:
    """Whether two values are the same bit for bit; a value that is not finite is None."""
    if one is None or other is None:
        return one is other
    return one == other and (one != 0.0 or math.copysign(1.0, one) == math.copysign(1.0, other))


def value_text(value: float | None) -> str:
    """Return a number with all its digits."""
    return "no value" if value is None else f"{float(value)!r}"


def action_text(value: int) -> str:
    """Return an action by its name."""
    return Action(value).name if value in tuple(Action) else f"{value}"


def moment_text(time: int) -> str:
    """Return UTC nanoseconds as a date and time."""
    import numpy as np

    return str(np.datetime64(time, "ns").astype("M8[s]"))


def side_text(side: int, contracts: int) -> str:
    """Return what an order or a fill is for."""
    return f"{'buy' if side > 0 else 'sell'} {contracts}" if contracts else "nothing"
