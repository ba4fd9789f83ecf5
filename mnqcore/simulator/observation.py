"""What an agent sees of its own position: one pure function for environments, backtests and trading."""

from __future__ import annotations

FEATURES = 4
"""How many numbers `position_info` holds."""
CLIP = 10.0
"""Beyond this no observation goes, in either direction."""
_UNIT = 0.01
"""Unrealised profit is seen in percent of the initial balance."""


def position_info(
    position: int, unrealised: float, bars_held: int, equity: float, initial: float, lookback: int
) -> tuple[float, float, float, float]:
    """Return (side, unrealised, bars held, equity), each scaled and clipped; plain numbers, so that it compiles.

    side: -1, 0 or 1. unrealised: percent of the initial balance, within +-10. bars held: in windows, at most 10.
    equity: by the initial balance, within 0 and 10.

    Args:
        position: signed contracts.
        unrealised: profit of the open position; `equity` and `initial` in the same unit of money.
        bars_held: bars since the entry filled, its own included; 0 when flat.
        equity: at the last close.
        initial: at the start, above 0.
        lookback: bars of a window.
    """
    side = 1.0 if position > 0 else (-1.0 if position < 0 else 0.0)
    gain = min(max(unrealised / (initial * _UNIT), -CLIP), CLIP)
    return side, gain, min(bars_held / lookback, CLIP), min(max(equity / initial, 0.0), CLIP)
