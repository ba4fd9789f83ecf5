"""Strategy files: TOML to a frozen, checked Strategy; every error of a file in one pass, each with its place."""

from mnqcore.strategy.check import check, load, names
from mnqcore.strategy.findings import Finding, InvalidFile
from mnqcore.strategy.model import Choice, Strategy
from mnqcore.strategy.settings import Commission, Costs, Env, Holdout, Risk, Session, Split, WalkForward
from mnqcore.strategy.trade import Limits, Trade

__all__ = [
    "Choice",
    "Commission",
    "Costs",
    "Env",
    "Finding",
    "Holdout",
    "InvalidFile",
    "Limits",
    "Risk",
    "Session",
    "Split",
    "Strategy",
    "Trade",
    "WalkForward",
    "check",
    "load",
    "names",
]
