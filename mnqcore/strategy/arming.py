"""What must hold before a strategy may trade, and how the command line tightens its limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.errors import UsageError
from mnqcore.strategy.document import Document
from mnqcore.strategy.resolve import Node
from mnqcore.strategy.resolved import value
from mnqcore.strategy.settings import Risk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnqcore.strategy.model import Strategy

WRITTEN = ("max_position", "max_daily_loss", "max_loss")
"""The keys of `risk` that have no default where money is at stake."""
_MODE = 'the file does not say trade.mode = "live"'
_PAPER = re.compile(r"D[A-Z][0-9]+")


def unprotected(strategy: Strategy, mode: str) -> str | None:
    """Return why a strategy without stops may not run in a mode, or None: only bars of the past may."""
    if mode == "replay" or getattr(strategy.bracket.cls, "protects", True):
        return None
    return f"bracket '{strategy.bracket.use}' sets no stop, and {mode} refuses positions without one"


def live_complaints(strategy: Strategy, plugin_files: Sequence[str | Path], typed: str | None) -> list[str]:
    """Return everything that keeps a strategy from trading money; the account's port and model are checked elsewhere.

    Args:
        strategy: as loaded, before the command line tightens anything: what is required must stand in its file.
        plugin_files: the files given with `-p`.
        typed: what was given as `--mode`.
    """
    found = [] if _in_file(strategy, "trade.mode") and strategy.trade.mode == "live" else [_MODE]
    found += [] if typed == "live" else ["--mode live was not typed"]
    found += _account(strategy)
    if strategy.trade.broker.name == "simulated":
        found.append("the simulated broker holds no money: trade.broker must name another")
    found += [f"-p {path}: files of plugins may not trade money, installed ones may" for path in plugin_files]
    found += [text] if (text := unprotected(strategy, "live")) else []
    missing = [f"risk.{key}" for key in WRITTEN if not _in_file(strategy, f"risk.{key}")]
    return found + [f"the file does not set {key}: live has no default for it" for key in missing]


def tightened(strategy: Strategy, max_position: int | None = None, max_daily_loss: float | None = None) -> Strategy:
    """Return a strategy with lower limits.

    Raises:
        UsageError: a limit would be looser than the strategy's own, or makes no sense.
    """
    given: dict[str, Any] = {"max_position": max_position, "max_daily_loss": max_daily_loss}
    limits = {key: limit for key, limit in given.items() if limit is not None}
    for key, limit in limits.items():
        _lower(key, limit, getattr(strategy.risk, key))
    if not limits:
        return strategy
    written = {f"risk.{key}": f"{_option(key)} {value(limit)}" for key, limit in limits.items()}
    risk = attrs.evolve(strategy.risk, **limits)
    return attrs.evolve(strategy, risk=risk, written={**strategy.written, **written})


def _lower(key: str, limit: float, own: float | None) -> None:
    if complaint := parameters(Risk)[key].complaint(limit):
        raise UsageError(f"{_option(key)} {complaint}")
    if limit > (math.inf if own is None else own):
        raise UsageError(
            f"{_option(key)} {value(limit)} would loosen risk.{key} = {value(own)}",
            next="the command line can only tighten; a looser limit is written in the file",
        )


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _account(strategy: Strategy) -> list[str]:
    account = strategy.trade.account
    if account is None or not _in_file(strategy, "trade.account"):
        return ["the file does not name the account: trade.account"]
    return [f"account {account} is a paper account"] if _PAPER.fullmatch(account) else []


def _in_file(strategy: Strategy, key: str) -> bool:
    """Return whether a value was written in a file, rather than given by `--set` or by default."""
    node = strategy.written.get(key)
    return isinstance(node, Node) and isinstance(node.source, Document)
