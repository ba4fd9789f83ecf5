"""Builds one Strategy from its merged layers, collecting every finding on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.errors import suggest
from mnqcore.market.instruments import Instrument, catalogue
from mnqcore.strategy import reading
from mnqcore.strategy.feed_table import FeedTable
from mnqcore.strategy.model import Strategy
from mnqcore.strategy.pieces import Pieces
from mnqcore.strategy.resolve import Node, plant
from mnqcore.strategy.settings import CHOICES, IDLE, LEARNING, TABLES, USED, Holdout, Plain, can_trade
from mnqcore.strategy.trade_table import TradeTable

if TYPE_CHECKING:
    from mnqcore.plugins import Plugins
    from mnqcore.strategy.collect import Collector
    from mnqcore.strategy.model import Choice
    from mnqcore.strategy.settings import Session

_PLAIN = tuple(field.name for field in attrs.fields(Plain))
_NAME = frozenset(["name"])
KEYS = (*_PLAIN, *CHOICES, "feeds", "features", "split", *TABLES, "trade")
"""The keys of a strategy, but `extends`."""


def presumed() -> Node:
    """Return the lowest layer: the plugins used where a strategy names none, and the split."""
    used = {kind: {"use": name} for kind, name in {**USED, "split": Holdout.use}.items()}
    broker = used.pop("broker")
    return plant({**used, "trade": {"broker": broker}})


@attrs.frozen
class Builder:
    """Reads one strategy; `instruments` is the file's own table of them."""

    plugins: Plugins
    instruments: Node
    collect: Collector

    def strategy(self, name: str, merged: Node, requires: tuple[str, ...]) -> Strategy | None:
        """Return the strategy; None where it has a finding, or is only a part of one."""
        pieces = Pieces(self.plugins, self.collect)
        self._unknown_keys(merged)
        plain = self._plain(merged)
        tables = {key: self._table(cls, merged.get(key) or Node({}), key) for key, cls in TABLES.items()}
        choices = self._choices(pieces, merged)
        split = pieces.split(merged.get("split") or Node({}))
        features = pieces.features(merged.get("features"), merged.get("feeds"))
        trade = TradeTable(pieces, self.collect).trade(merged.get("trade") or Node({}))
        instrument = self.instrument(called, merged) if (called := self._called(merged)) is not None else None
        feeds = FeedTable(pieces, self.collect, self.instrument).feeds(merged.get("feeds"), plain, instrument)
        pieces.together(choices["sizer"], choices["bracket"], merged.get("sizer"))
        pieces.seeing(choices["agent"], merged)
        if plain and instrument and tables["session"]:
            self._together(merged, plain, tables["session"], instrument)
        if self.collect.findings or self.collect.partial or not (plain and instrument and split and trade):
            return None
        return Strategy(
            name=name,
            summary=plain.summary,
            instrument=instrument,
            bar_size=plain.bar_size.removesuffix("s"),
            seed=plain.seed,
            lookback=plain.lookback,
            features=features,
            feeds=feeds,
            split=split,
            trade=trade,
            requires=requires,
            written=self._written(learns=choices["agent"].learns),
            **choices,
            **tables,
        )

    def _choices(self, pieces: Pieces, merged: Node) -> dict[str, Any]:
        """Return kind -> choice. What only a learner needs is read for a rule where it is written, and then dropped."""
        agent = pieces.choice("agent", merged.get("agent"), "agent")
        learns = agent is not None and agent.learns
        found: dict[str, Choice | None] = {}
        for kind in CHOICES:
            node = merged.get(kind)
            needed = kind not in LEARNING or learns or (node is not None and node.source is not None)
            found[kind] = agent if kind == "agent" else pieces.choice(kind, node, kind) if needed else None
        return found if learns else found | dict.fromkeys(IDLE & found.keys())

    def _written(self, *, learns: bool) -> dict[str, Node | str]:
        """Return where the strategy's values were written, without those that mean nothing to its agent."""
        written = self.collect.written
        return {key: node for key, node in written.items() if learns or key.partition(".")[0] not in IDLE}

    def instrument(self, name: str, merged: Node) -> Instrument | None:
        """Return the instrument: the catalogue's, with what the file's own table says over it."""
        own, known = self.instruments.get(name), catalogue().get(name)
        if own is None and known is None:
            names = sorted({*catalogue(), *(self.instruments.table or {})})
            hint = reading.unknown(name, names) if suggest(name, names) else f"known: {', '.join(names)}"
            self.collect.add(f"no instrument named {name!r}", merged, ("instrument",), hint=hint)
            return None
        return self._instrument(name, own or Node({}), known)

    def _instrument(self, name: str, own: Node, known: Instrument | None) -> Instrument | None:
        base = attrs.asdict(known, filter=lambda field, _: field.name != "name") if known else {}
        values = base | own.plain() if own.table is not None else own.plain()
        found: Instrument | None = self.collect.read(Instrument, values, own, f"instrument {name}", _NAME)
        if found is None:
            return None
        for key in parameters(Instrument).keys() - _NAME:
            self.collect.written[f"instrument.{name}.{key}"] = own.get(key) or ("catalogue" if known else "default")
        return attrs.evolve(found, name=name)

    def _called(self, merged: Node) -> str | None:
        """Return the instrument's name, whatever else is wrong with the strategy; None where it is no string."""
        node = merged.get("instrument")
        try:
            return str(reading.typed(node.value, str)) if node else parameters(Plain)["instrument"].default
        except reading.Refusal:
            return None

    def _plain(self, merged: Node) -> Plain | None:
        values = {key: value for key, value in merged.plain().items() if key in _PLAIN}
        self.collect.note(Plain, merged, "")
        plain: Plain | None = self.collect.read(Plain, values, merged, "strategy")
        return plain

    def _table(self, cls: type, node: Node, key: str) -> Any:
        self.collect.note(cls, node, key)
        return self.collect.read(cls, node.plain(), node, key)

    def _together(self, merged: Node, plain: Plain, session: Session, instrument: Instrument) -> None:
        """Find bars so long that a session is over before one can be traded; [defaults] alone may yet be completed."""
        if self.collect.partial or can_trade(plain.bar_size, session, instrument):
            return
        message = f"bars of {plain.bar_size} leave no bar to trade in when flat_by_close is on"
        if session.flat_lead > 2:
            message += f" and flat_lead is {session.flat_lead}"
        keys = ("bar_size",) if merged.get("bar_size") else ("session", "flat_lead")
        self.collect.add(message, merged, keys, hint="set session.flat_by_close = false, or take shorter bars")

    def _unknown_keys(self, merged: Node) -> None:
        for key in merged.table or {}:
            if key not in KEYS:
                self.collect.unknown(
                    merged, (key,), f"unknown key {key!r} for a strategy", reading.unknown(key, list(KEYS))
                )
