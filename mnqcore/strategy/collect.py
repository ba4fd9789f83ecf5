"""Collects what is wrong with one strategy, and where each of its values was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.strategy import reading
from mnqcore.strategy.findings import Finding
from mnqcore.strategy.settings import LATER

if TYPE_CHECKING:
    from mnqcore.strategy.places import Path
    from mnqcore.strategy.resolve import Node

NOT_YET = "remove it: it comes with a later version"


@attrs.define
class Collector:
    """Grows `findings`, and `written` (dotted key -> the node that holds the value, or a word such as "catalogue").

    `at` is the table where what has no place of its own is reported. Where `partial` ([defaults] by itself), nothing
    needs to be complete.
    """

    at: Node
    partial: bool = False
    findings: list[Finding] = attrs.field(factory=list)
    written: dict[str, Node | str] = attrs.field(factory=dict)

    def add(
        self,
        message: str,
        node: Node,
        keys: Path = (),
        *,
        key: bool = False,
        hint: str | None = None,
        by_plugin: bool = False,
    ) -> None:
        """Add a finding at a value below a node (at its key, if `key`), or at `at` where that was never written."""
        finding = node.find(message, keys, key=key, hint=hint) or self.at.find(message, key=True, hint=hint)
        finding = finding or Finding(message, "strategy", hint=hint)
        self.findings.append(attrs.evolve(finding, by_plugin=by_plugin))

    def unknown(self, node: Node, keys: Path, message: str, hint: str | None) -> None:
        """Add a finding at a key that nothing reads."""
        if keys[-1] in LATER:
            message, hint = f"{keys[-1]!r} is not in this version of mnq", NOT_YET
        self.add(message, node, keys, key=True, hint=hint)

    def read(self, cls: type, values: object, node: Node, owner: str, omit: frozenset[str] = frozenset()) -> Any:
        """Return an instance of a class from plain values, or None with its findings; `owner` is how they call it."""
        try:
            return reading.read(cls, values, omit=omit)
        except (Exception, SystemExit) as error:  # cattrs' tree of errors, or anything that a plugin's own check raises
            for fault in reading.faults(error, cls, omit=omit):
                self._fault(fault, node, owner)
            return None

    def note(self, cls: type, node: Node, table: str) -> None:
        """Remember where each parameter of a table was written."""
        for name in parameters(cls):
            child = node.get(name)
            self.written[f"{table}.{name}".removeprefix(".")] = child if child else "default"

    def _fault(self, fault: reading.Fault, node: Node, owner: str) -> None:
        if fault.kind == "unknown":
            word = "parameter" if "'" in owner else "key"
            self.unknown(node, fault.keys, f"unknown {word} {fault.message!r} for {owner}", fault.hint)
        elif fault.kind == "missing" and not self.partial:
            self.add(f"{owner} {fault.message}", node, fault.keys[:-1], key=True, hint=fault.hint)
        elif fault.kind == "value":
            self.add(fault.message if fault.keys else f"{owner}{fault.message}", node, fault.keys, hint=fault.hint)
        elif fault.kind == "rule" and not self.partial:
            self.add(fault.message, node, fault.keys, key=True)
