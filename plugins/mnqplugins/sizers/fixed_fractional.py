"""Risk the same share of the equity on every entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import Entry, param, plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROUNDING = 1e-9
"""Contracts: no whole one is lost to a rounding error."""


@plugin
class FixedFractional:
    """Enter with as many contracts as lose at most a share of the equity when the stop is hit.

    contracts = floor(risk x equity / (stop distance x dollars a point)) (Vince 1990, "fixed fractional trading").
    """

    risk: float = param(0.02, gt=0, le=1, unit="of equity", help="lost when the stop is hit", tune=(0.002, 0.05))

    needs_stop: ClassVar[bool] = True

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return shape (m,): whole contracts, 0 where even one risks too much or no equity is left."""
        import numpy as np

        contracts = self.risk * entry.equity / (entry.stop_distance * entry.point_value)
        return np.maximum(contracts + _ROUNDING, 0.0).astype(np.int64)
