"""Windows of features, cut out of one array that all bars share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnqcore.env.arena import Arena


class Windows:
    """Windows of an arena's features by the bar they end with; each is a copy."""

    def __init__(self, arena: Arena) -> None:
        self._shape = (-1, arena.lookback, len(arena.names))
        self._before = arena.lookback - 1
        self._features = features = np.ascontiguousarray(arena.features)
        # Windows as rows that overlap: picking rows of a flat view is twice as fast as picking windows.
        self._rows = np.lib.stride_tricks.as_strided(
            features,
            (len(features) - self._before, arena.lookback * len(arena.names)),
            (features.strides[0], features.strides[1]),
            writeable=False,
        )

    def at(self, bars: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return float32 (n, lookback, n_features), the windows that end with these bars, (n,)."""
        return self._rows[bars - self._before].reshape(self._shape)

    def one(self, bar: int) -> NDArray[np.float32]:
        """Return float32 (lookback, n_features), the window that ends with a bar."""
        return self._features[bar - self._before : bar + 1].copy()
