"""Writes a resolved strategy as a complete file: every value, and where it comes from as a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import tomli_w

from mnqcore.strategy.document import bare
from mnqcore.strategy.findings import printable
from mnqcore.strategy.trade import TradePlain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.strategy.model import Choice, Feed, Strategy
    from mnqcore.strategy.trade import Trade


def write(strategy: Strategy, *, origins: bool = True) -> str:
    """Return the strategy as TOML, each value with its origin; a value that is not set (None) is left out."""
    return "\n".join(_lines(strategy, strategy.origins if origins else {})) + "\n"


def values(strategy: Strategy) -> dict[str, dict[str, Any]]:
    """Return dotted table -> key -> value of all that a strategy holds; the table of plain settings is ""."""
    plain: dict[str, Any] = {
        "summary": strategy.summary,
        "instrument": strategy.instrument.name,
        "bar_size": strategy.bar_size,
    }
    plain |= {"seed": strategy.seed} | ({"lookback": strategy.lookback} if strategy.learns else {})
    tables: dict[str, dict[str, Any]] = {"": plain}
    tables |= {f"feeds.{name}": _feed(feed) for name, feed in strategy.feeds.items()}
    tables |= {key: _choice(choice) for key, choice in strategy.choices.items()}
    fees = {key: amount for key, amount in attrs.asdict(strategy.costs.commission).items() if amount}
    costs = {**attrs.asdict(strategy.costs, recurse=False), "commission": fees or {"per_contract": 0.0}}
    tables |= {"costs": costs, "risk": attrs.asdict(strategy.risk), "session": attrs.asdict(strategy.session)}
    return tables | _learning(strategy) | _trade(strategy.trade)


def _feed(feed: Feed) -> dict[str, Any]:
    return {"instrument": feed.instrument.name if feed.data else None, "bar_size": feed.bar_size}


def _choice(choice: Choice) -> dict[str, Any]:
    return {"use": choice.use, **({"on": choice.on} if choice.on else {}), **choice.params}


def _learning(strategy: Strategy) -> dict[str, dict[str, Any]]:
    """Return the tables that only a learner has."""
    if not strategy.learns or not strategy.executor:
        return {}
    executor = {"use": strategy.executor.use, **strategy.executor.params}
    split = {"use": strategy.split.use, **attrs.asdict(strategy.split)}
    return {"split": split, "env": attrs.asdict(strategy.env), "executor": executor}


def _trade(trade: Trade) -> dict[str, dict[str, Any]]:
    """Return the table `trade`, and the tables in it."""
    plain = {name: getattr(trade, name) for name in attrs.fields_dict(TradePlain)}
    broker = {"use": trade.broker.use, **trade.broker.params}
    alerts = {f"trade.alerts.{name}": {"use": one.use, **attrs.asdict(one)} for name, one in trade.alerts.items()}
    further = {"trade.limits": attrs.asdict(trade.limits), "trade.heartbeat": attrs.asdict(trade.heartbeat)}
    return {"trade": plain, "trade.broker": broker, **further, **alerts}


def _lines(strategy: Strategy, origins: dict[str, str]) -> Iterator[str]:
    yield "format = 1"
    if strategy.requires:
        yield f"requires = {value(list(strategy.requires))}"
    every = [strategy.instrument, *(feed.instrument for feed in strategy.feeds.values())]
    for instrument in {one.name: one for one in every}.values():
        header = f"instrument.{bare(instrument.name)}"
        facts = attrs.asdict(instrument, filter=lambda field, _: field.name != "name")
        yield from _table(header, facts, header, origins)
    for key, table in values(strategy).items():
        header = f"strategy.{bare(strategy.name)}.{key}".removesuffix(".")
        yield from _table(header, table, key, origins)


def _table(header: str, table: dict[str, Any], above: str, origins: dict[str, str]) -> Iterator[str]:
    yield from ("", f"[{header}]")
    for key, item in table.items():
        if item is not None:
            origin = origins.get(f"{above}.{key}".removeprefix("."), "")
            yield f"{bare(key)} = {value(item)}" + (f"  # {printable(origin)}" if origin else "")


def value(item: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(item, dict):
        return "{ " + ", ".join(f"{bare(key)} = {value(inner)}" for key, inner in item.items()) + " }"
    if isinstance(item, (list, tuple)):
        return "[" + ", ".join(value(inner) for inner in item) + "]"
    return tomli_w.dumps({"x": item}).removeprefix("x = ").rstrip("\n")
