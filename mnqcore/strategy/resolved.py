"""Writes a resolved strategy as a complete file: every value, and where it comes from as a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import tomli_w

from mnqcore.strategy.document import bare
from mnqcore.strategy.findings import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.strategy.model import Choice, Strategy


def write(strategy: Strategy, *, origins: bool = True) -> str:
    """Return the strategy as TOML; a value that is not set (None) is left out."""
    return "\n".join(_lines(strategy, strategy.origins if origins else {})) + "\n"


def _lines(strategy: Strategy, origins: dict[str, str]) -> Iterator[str]:
    yield "format = 1"
    if strategy.requires:
        yield f"requires = {value(list(strategy.requires))}"
    name = strategy.instrument.name
    facts = attrs.asdict(strategy.instrument)
    yield from ("", f"[instrument.{bare(name)}]")
    yield from _table({key: facts[key] for key in facts if key != "name"}, f"instrument.{name}", origins)
    yield from ("", f"[strategy.{bare(strategy.name)}]")
    plain = {"summary": strategy.summary, "instrument": name, "bar_size": strategy.bar_size, "seed": strategy.seed}
    yield from _table(plain, "", origins)
    for key, table in _tables(strategy):
        yield from ("", f"[strategy.{bare(strategy.name)}.{key}]")
        yield from _table(table, key, origins)


def _tables(strategy: Strategy) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, choice in strategy.choices.items():
        yield key, _choice(choice)
    costs = attrs.asdict(strategy.costs, recurse=False)
    commission = {key: amount for key, amount in attrs.asdict(strategy.costs.commission).items() if amount}
    yield "costs", costs | {"commission": commission or {"per_contract": 0.0}}
    yield "risk", attrs.asdict(strategy.risk)
    yield "session", attrs.asdict(strategy.session)


def _choice(choice: Choice) -> dict[str, Any]:
    return {"use": choice.use, **choice.params}


def _table(values: dict[str, Any], above: str, origins: dict[str, str]) -> Iterator[str]:
    for key, item in values.items():
        if item is not None:
            line = f"{bare(key)} = {value(item)}"
            origin = _origin(f"{above}.{key}".removeprefix("."), origins)
            yield f"{line}  # {printable(origin)}" if origin else line


def _origin(key: str, origins: dict[str, str]) -> str:
    below = {origin for name, origin in origins.items() if name.startswith(f"{key}.") and origin != "default"}
    return origins.get(key) or ", ".join(sorted(below)) or ("default" if origins else "")


def value(item: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(item, dict):
        return "{ " + ", ".join(f"{bare(key)} = {value(inner)}" for key, inner in item.items()) + " }"
    if isinstance(item, (list, tuple)):
        return "[" + ", ".join(value(inner) for inner in item) + "]"
    return tomli_w.dumps({"x": item}).removeprefix("x = ").rstrip("\n")
