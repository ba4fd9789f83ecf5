"""The hash of a table, the same on any machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def sha256_of(table: pd.DataFrame) -> str:
    """Return the sha256 (hex) of a table's times, column names and values; the same on any machine.

    The index counts where it holds times; a plain numbering of rows says nothing.
    """
    import pandas as pd

    digest = hashlib.sha256("\0".join(map(str, table.columns)).encode())
    if isinstance(table.index, pd.DatetimeIndex):
        digest.update(_bytes(table.index.to_series()))
    for name in table.columns:
        digest.update(_bytes(table[name]))
    return digest.hexdigest()


def _bytes(column: pd.Series) -> bytes:
    import numpy as np
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return pd.DatetimeIndex(column).as_unit("ns").asi8.astype("<i8").tobytes()
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy()
        return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes()
    return "\0".join(map(str, column)).encode()
