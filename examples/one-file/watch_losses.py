"""An observer: warn of every large loss while a run goes by.

mnq run examples/one-file/strategies.toml -s steady -p examples/one-file/steady.py -p examples/one-file/watch_losses.py
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mnqcore import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqcore import Result

_LOG = logging.getLogger(__name__)
_LARGE = 500.0
"""Dollars."""


@hookimpl
def run_started(run: Any) -> None:
    """Say what begins; shown by `mnq -v`."""
    _LOG.info("%s begins, strategy sha %s", run.strategy, run.digest[:8])


@hookimpl
def trade_closed(trade: Mapping[str, Any]) -> None:
    """Warn of a large loss; an argument that is not needed may be left out."""
    if trade["net"] < -_LARGE:
        _LOG.warning("lost $%.2f by %s at %s", -trade["net"], trade["reason"], trade["exit_time"])


@hookimpl
def alert(level: str, message: str) -> None:
    """Pass on what a person should look at."""
    _LOG.warning("%s: %s", level, message)


@hookimpl
def run_finished(result: Result) -> None:
    """Say what came out; shown by `mnq -v`."""
    _LOG.info("net profit $%.2f, kept in %s", result.metrics["net_profit"], result.run.path)
