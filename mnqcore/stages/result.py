"""What a run returns, and what its manifest says of its strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import pandas as pd

    from mnqcore.runs import Run
    from mnqcore.strategy.model import Strategy

_KEPT_OF_CHOICE = ("use", "distribution", "version", "params")


@attrs.frozen(kw_only=True, eq=False)
class Result:
    """What `run` returns: figures, tables, and where they lie on disk.

    `metrics`: name -> figure. `trades`: one row a round trip. `equity`: dollars at each close. `features`: NAME.column.
    """

    metrics: dict[str, Any]
    trades: pd.DataFrame
    equity: pd.Series
    features: pd.DataFrame
    run: Run


def described(strategy: Strategy) -> dict[str, Any]:
    """Return what a manifest says of a strategy: instrument, pieces and settings, and where it was run."""
    return {
        "seed": strategy.seed,
        "instrument": attrs.asdict(strategy.instrument),
        "plugins": {
            key: attrs.asdict(choice, filter=lambda field, _: field.name in _KEPT_OF_CHOICE)
            for key, choice in strategy.choices.items()
        },
        "settings": {name: attrs.asdict(getattr(strategy, name)) for name in ("costs", "risk", "session")},
        "bar_size": strategy.bar_size,
        "folder": str(Path.cwd()),
    }
