"""Reads the table `trade` of a strategy, and the tables in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.strategy import reading
from mnqcore.strategy.resolve import Node
from mnqcore.strategy.trade import ALERTS, Alert, Beat, Limits, Trade, TradePlain

if TYPE_CHECKING:
    from mnqcore.strategy.collect import Collector
    from mnqcore.strategy.pieces import Pieces

_TABLES = {"limits": Limits, "heartbeat": Beat}
_KEYS = ("broker", *parameters(TradePlain), *_TABLES, "alerts")


@attrs.frozen
class TradeTable:
    """Reads how one strategy trades."""

    pieces: Pieces
    collect: Collector

    def trade(self, node: Node) -> Trade | None:
        """Return how a strategy trades; None where that has a finding."""
        if node.table is None:
            self.collect.add(f"trade must be a table, was {reading.described(node.value)}", node)
            return None
        self._unknown_keys(node)
        plain = self._read(TradePlain, Node(_only(node, parameters(TradePlain)), node.source, node.path), "trade")
        tables = {key: self._read(cls, node.get(key) or Node({}), f"trade.{key}") for key, cls in _TABLES.items()}
        broker = self.pieces.choice("broker", node.get("broker"), "trade.broker")
        alerts = self._alerts(node.get("alerts"))
        if broker is None or plain is None or None in tables.values():
            return None
        return Trade(**attrs.asdict(plain), **tables, broker=broker, alerts=alerts)

    def _alerts(self, node: Node | None) -> dict[str, Alert]:
        """Return name -> where alerts go, without those that are dropped."""
        tables = self.pieces.named(node, "trade.alerts", "alerts", "one for each way they go")
        found = {
            name: self.pieces.known(ALERTS, child, f"trade.alerts.{name}", "alert") for name, child in tables.items()
        }
        return {name: alert for name, alert in found.items() if alert is not None}

    def _read(self, cls: type, node: Node, table: str) -> Any:
        self.collect.note(cls, node, table)
        return self.collect.read(cls, node.plain(), node, table)

    def _unknown_keys(self, node: Node) -> None:
        for key in node.table or {}:
            if key not in _KEYS:
                hint = reading.unknown(key, list(_KEYS))
                self.collect.unknown(node, (key,), f"unknown key {key!r} for trade", hint)


def _only(node: Node, keys: Any) -> dict[str, Node]:
    return {key: child for key, child in (node.table or {}).items() if key in keys}
