"""The same size for every entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Entry, param, plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@plugin
class Fixed:
    """Enter with a fixed number of contracts."""

    contracts: int = param(1, ge=1, le=10_000, unit="contracts", help="size of every entry")

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return `contracts` for each of the m entries."""
        import numpy as np

        sizes = np.empty(entry.side.shape, np.int64)
        sizes.fill(self.contracts)  # half the time of numpy.full: environments ask at most steps
        return sizes
