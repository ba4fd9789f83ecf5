"""Reads the table `feeds` of a strategy: bars beside its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.strategy import reading
from mnqcore.strategy.model import Feed
from mnqcore.strategy.resolve import Node
from mnqcore.strategy.settings import FeedPlain, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.collect import Collector
    from mnqcore.strategy.pieces import Pieces
    from mnqcore.strategy.settings import Plain

_KEYS = (*parameters(FeedPlain), "data")
_HINT = 'data = { use = "file", path = "..." }'


@attrs.frozen
class FeedTable:
    """Reads the feeds of one strategy; `called` returns the instrument of a name, looked up at a table."""

    pieces: Pieces
    collect: Collector
    called: Callable[[str, Node], Instrument | None]

    def feeds(self, node: Node | None, plain: Plain | None, instrument: Instrument | None) -> dict[str, Feed]:
        """Return name -> feed, without those that are dropped, or that have a finding.

        `plain` and `instrument` are the strategy's own, None where they have a finding.
        """
        found = {}
        for name, child in self.pieces.named(node, "feeds", "a feed", "one a feed").items():
            feed = self._feed(child, f"feeds.{name}", plain, instrument)
            if feed is not None:
                found[name] = feed
        return found

    def _feed(self, node: Node, table: str, plain: Plain | None, instrument: Instrument | None) -> Feed | None:
        if node.table is None:
            message = f"{table} must be a table, was {reading.described(node.value)}"
            self.collect.add(message, node, hint=f'{table} = {{ bar_size = "1 hour" }}')
            return None
        self._unknown_keys(node, table)
        own = Node(
            {key: one for key, one in node.table.items() if key in parameters(FeedPlain)}, node.source, node.path
        )
        self.collect.note(FeedPlain, own, table)
        said: FeedPlain | None = self.collect.read(FeedPlain, own.plain(), own, table)
        data = self.pieces.choice("data", node.get("data"), f"{table}.data")
        whose = instrument
        if said is not None and said.instrument is not None:
            whose = self.called(said.instrument, node)
        if said is None or plain is None or whose is None or (data is None and node.get("data") is not None):
            return None
        if data is None and not self._can_be_made(said, node, table, plain):
            return None
        size = said.bar_size or plain.bar_size
        return Feed(instrument=whose, bar_size=size.removesuffix("s"), data=data)

    def _can_be_made(self, said: FeedPlain, node: Node, table: str, plain: Plain) -> bool:
        """Return whether a feed without data can be made of the strategy's bars; [defaults] may yet be completed."""
        if self.collect.partial:
            return True
        if said.instrument not in (None, plain.instrument):
            self.collect.add(f"{table} is of another instrument: it needs data", node, ("instrument",), hint=_HINT)
        elif said.bar_size is None:
            self.collect.add(
                f"{table} needs bar_size, or data", node, key=True, hint=f'bar_size = "1 hour", or {_HINT}'
            )
        elif (more := seconds(said.bar_size)) % (own := seconds(plain.bar_size)) or more == own:
            message = f"bars of {said.bar_size} cannot be made of bars of {plain.bar_size}"
            self.collect.add(message, node, ("bar_size",), hint="take a multiple of them, or give the feed data")
        else:
            return True
        return False

    def _unknown_keys(self, node: Node, table: str) -> None:
        for key in node.table or {}:
            if key not in _KEYS:
                hint = (
                    "where its bars come from stands in its data" if key == "use" else reading.unknown(key, list(_KEYS))
                )
                self.collect.unknown(node, (key,), f"unknown key {key!r} for {table}", hint)
