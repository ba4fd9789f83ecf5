"""mnq: train and backtest plugin-built futures strategies, composed in TOML.

Install the distribution `mnq`, import the package `mnqcore`. Names are imported on first use, so that a plugin
which only needs `param` and `plugin` costs nothing more.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnqcore import rules
    from mnqcore.agent.face import TradingAgent
    from mnqcore.agent.learner import Sb3Learner
    from mnqcore.agent.policy import WindowPolicy
    from mnqcore.agent.training import Training
    from mnqcore.api import (
        Action,
        BarRequest,
        Entry,
        ExitReason,
        FeedSpec,
        MarketView,
        ModelSpec,
        ObservationSpec,
        Step,
        param,
        plugin,
        port,
        state,
    )
    from mnqcore.env import TradingEnv
    from mnqcore.errors import BrokerError, DataError, MnqError, PluginError
    from mnqcore.hookspecs import Register, hookimpl
    from mnqcore.market.bars import resample, size_text
    from mnqcore.market.calendar import Calendar
    from mnqcore.market.instruments import Instrument
    from mnqcore.market.store import read_bars
    from mnqcore.runs import Run, open_run
    from mnqcore.stages.engine import BacktestEngine
    from mnqcore.stages.options import Options
    from mnqcore.stages.result import Result
    from mnqcore.stages.run import run
    from mnqcore.trading.recorded import Recorded, recorded

# Read once, when torch is loaded: threads that wait by spinning cost many times their work where cores are shared.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

_HOMES = {
    "Action": "mnqcore.api",
    "BacktestEngine": "mnqcore.stages.engine",
    "BarRequest": "mnqcore.api",
    "BrokerError": "mnqcore.errors",
    "Calendar": "mnqcore.market.calendar",
    "DataError": "mnqcore.errors",
    "Entry": "mnqcore.api",
    "ExitReason": "mnqcore.api",
    "FeedSpec": "mnqcore.api",
    "Instrument": "mnqcore.market.instruments",
    "MarketView": "mnqcore.api",
    "MnqError": "mnqcore.errors",
    "ModelSpec": "mnqcore.api",
    "ObservationSpec": "mnqcore.api",
    "Options": "mnqcore.stages.options",
    "PluginError": "mnqcore.errors",
    "Recorded": "mnqcore.trading.recorded",
    "Register": "mnqcore.hookspecs",
    "Result": "mnqcore.stages.result",
    "Run": "mnqcore.runs",
    "Sb3Learner": "mnqcore.agent.learner",
    "Step": "mnqcore.api",
    "TradingAgent": "mnqcore.agent.face",
    "TradingEnv": "mnqcore.env",
    "Training": "mnqcore.agent.training",
    "WindowPolicy": "mnqcore.agent.policy",
    "hookimpl": "mnqcore.hookspecs",
    "open_run": "mnqcore.runs",
    "param": "mnqcore.api",
    "plugin": "mnqcore.api",
    "port": "mnqcore.api",
    "read_bars": "mnqcore.market.store",
    "recorded": "mnqcore.trading.recorded",
    "resample": "mnqcore.market.bars",
    "run": "mnqcore.stages.run",
    "size_text": "mnqcore.market.bars",
    "state": "mnqcore.api",
}
"""name -> module that defines it."""

_MODULES = ("rules",)
"""Modules that are public as they stand."""

_NEEDS = {"TradingAgent": ("rl",), "TradingEnv": ("rl", "gymnasium"), "Training": ("rl",), "WindowPolicy": ("rl",)}
"""name -> the extra that it takes, and which of that extra's modules, if not all."""

__all__ = [
    "Action",
    "BacktestEngine",
    "BarRequest",
    "BrokerError",
    "Calendar",
    "DataError",
    "Entry",
    "ExitReason",
    "FeedSpec",
    "Instrument",
    "MarketView",
    "MnqError",
    "ModelSpec",
    "ObservationSpec",
    "Options",
    "PluginError",
    "Recorded",
    "Register",
    "Result",
    "Run",
    "Sb3Learner",
    "Step",
    "TradingAgent",
    "TradingEnv",
    "Training",
    "WindowPolicy",
    "hookimpl",
    "open_run",
    "param",
    "plugin",
    "port",
    "read_bars",
    "recorded",
    "resample",
    "rules",
    "run",
    "size_text",
    "state",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mnq")
    if name in _MODULES:
        return importlib.import_module(f"mnqcore.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'mnqcore' has no attribute {name!r}")
    if name in _NEEDS:
        from mnqcore.errors import require

        require(*_NEEDS[name])
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
