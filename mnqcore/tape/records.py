"""The records of the tape: what the simulator reads of each bar.

Prices are ticks, int64; signals are a plugin's own floats.
"""

from __future__ import annotations

import numpy as np

NO_PRICE = np.iinfo(np.int64).min
"""A price that does not exist: no stop, no target, or no further bar of the contract held."""
NO_FEED = -2
"""In the place of a stop's distance: no entry, since a feed lacks the bar that should have closed by then."""

BAR = np.dtype(
    [
        ("open", "i8"),
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),
        ("day", "i4"),  # running number of the trading day
        ("flat", "i1"),  # ExitReason SESSION or ROLL when no position may be open in this bar, else 0
        ("missed", "i1"),  # a position still open from the bar before should have been closed before this bar
        ("rolled", "i1"),  # first bar of another contract
        ("late", "i1"),  # 1 = this bar closes after `no_entry_after`, 2 = the session to be flat in closes with it
    ],
    align=True,
)
"""What every bar is read for: 40 bytes, since memory is what bounds the kernel."""

ORDER = np.dtype(
    [
        ("carry_open", "i8"),  # next open of the contract held so far; `open` but on the first bar after a roll
        ("stop", "i8"),  # distance from the close in ticks; 0 = no stop, -1 = no entry yet (warm-up), or NO_FEED
        ("target", "i8"),  # distance from the close in ticks; 0 = none
        ("sizer_signal", "f8"),
        ("reward_signal", "f8"),
        ("time", "i8"),  # UTC nanoseconds since the epoch, bar start
        ("bars_to_flat", "i8"),
    ],
    align=True,
)
"""What is read only where an order is made or a step reported, on the same index as BAR."""
