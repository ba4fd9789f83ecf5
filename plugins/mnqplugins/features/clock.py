"""Where in the day and the week a bar lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import MarketView, plugin

if TYPE_CHECKING:
    import pandas as pd


@plugin
class Clock:
    """Compute the time at which each bar closes, as the calendar alone tells it.

    Columns: `time_sin`, `time_cos` = local clock time on a circle of 24 hours; `to_close` = share of the session that
    is left, 1 to 0, early closes included, 0 outside sessions; `week_sin`, `week_cos` = trading day on a circle of
    Monday to Friday.
    """

    warmup: ClassVar[int] = 0

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return the columns as float64 on the index of `view.bars`."""
        import numpy as np
        import pandas as pd

        times = pd.DatetimeIndex(view.bars.index)
        where = view.calendar.locate(times)
        ends = times.as_unit("ns") + view.bar_size
        local = ends.tz_convert(view.instrument.timezone)
        daily = 2 * np.pi * np.asarray(local.hour * 60 + local.minute, dtype=np.float64) / 1440
        weekly = 2 * np.pi * ((where.day.astype(np.int64) + 3) % 7) / 5  # 1970-01-01 was a Thursday
        length = np.maximum(where.close - where.open, 1)
        left = np.where(where.session >= 0, np.clip((where.close - ends.asi8) / length, 0, 1), 0.0)
        columns = {
            "time_sin": np.sin(daily),
            "time_cos": np.cos(daily),
            "to_close": left,
            "week_sin": np.sin(weekly),
            "week_cos": np.cos(weekly),
        }
        return pd.DataFrame(columns, index=times)
