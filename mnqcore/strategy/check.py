"""From a file to checked strategies: `load` for one, `check` for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.strategy.book import Book
from mnqcore.strategy.findings import InvalidFile
from mnqcore.strategy.overrides import layer
from mnqcore.strategy.resolve import Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnqcore.plugins import Plugins
    from mnqcore.strategy.model import Strategy


def load(path: str | Path, name: str | None, plugins: Plugins, overrides: Sequence[str] = ()) -> Strategy:
    """Return one strategy of a file, resolved and checked.

    Args:
        path: the strategy file.
        name: which strategy; None where the file holds one.
        plugins: what is installed.
        overrides: `--set` values, "a.b=value" with keys of a strategy.

    Raises:
        StrategyError: with every finding of the file's head, of the strategy and of the overrides.
        UsageError: the file holds several strategies and none is named, or none of that name.
    """
    book = Book.open(path)
    findings = list(book.head())
    if name is None or book.strategies.get(name) is None:
        if findings and not book.names:
            raise InvalidFile(findings)
        name = book.choose(name)
    above, wrong = layer(overrides)
    strategy, more = book.build(name, plugins, above)
    if strategy is None or findings or wrong or more:
        raise InvalidFile([*findings, *wrong, *more])
    return strategy


def check(path: str | Path, plugins: Plugins, name: str | None = None) -> list[Strategy]:
    """Return every strategy of a file (or the one named), checked; also the defaults and instruments that none uses.

    Raises:
        StrategyError: with every finding in the file.
        UsageError: no strategy of that name.
    """
    book = Book.open(path)
    findings = list(book.head())
    chosen = [book.choose(name)] if name is not None else book.names
    built = [book.build(each, plugins, Node({})) for each in chosen]
    findings += [finding for _, more in built for finding in more]
    if name is None:
        findings += book.unused(plugins)
    if findings:
        raise InvalidFile(findings)
    return [strategy for strategy, _ in built if strategy]


def names(path: str | Path) -> list[str]:
    """Return the names of the strategies in a file, in its order; StrategyError if it cannot be read."""
    return Book.open(path).names
