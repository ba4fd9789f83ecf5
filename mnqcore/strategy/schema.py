"""The JSON schema of strategy files, with the plugins that are installed; editors find it by the `#:schema` line.

Draft 7, which the TOML editors read. A table that names a plugin is a chain of if/then/else on its `use`: `oneOf` would
give useless errors, and a list of conditions no completion. Layers may each give a part, so nothing is required.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import attrs

from mnqcore.api.parameters import Parameter, parameters
from mnqcore.errors import PluginError
from mnqcore.market.instruments import Instrument, catalogue
from mnqcore.strategy.pieces import DROPPED, NAME
from mnqcore.strategy.reading import settable, unwrapped
from mnqcore.strategy.settings import (
    CHOICES,
    FURTHER,
    SPLITS,
    TABLES,
    USED,
    Commission,
    FeedPlain,
    Holdout,
    Plain,
    clock,
)
from mnqcore.strategy.trade import ALERTS, Beat, Limits, TradePlain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnqcore.plugins import Plugins, Registered

    Schema = dict[str, Any]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
_SIZES = "^[1-9][0-9]{0,3} (sec|min|hour|day)s?$"
_NAMES = f"^{NAME.pattern}$"


def document(plugins: Plugins) -> tuple[Schema, list[str]]:
    """Return the schema, and the pieces of which it knows no parameters since they do not load."""
    broken: list[str] = []
    kinds = {kind: _kind(kind, plugins, broken) for kind in (*CHOICES, "features", "broker")}
    kinds |= {"split": _known(SPLITS, "how the bars are parted for a learner", Holdout.use)}
    kinds |= {"alert": _known(ALERTS, "where alerts go", None, dropped=True)}
    strategy = _strategy()
    own = {"summary": strategy["summary"], "extends": {"type": "string", "description": "the strategy to start from"}}
    shared = {key: value for key, value in strategy.items() if key != "summary"}
    top = {
        "format": {"const": 1, "description": "version of this format"},
        "requires": {"type": "array", "items": {"type": "string"}, "description": 'such as ["mnq>=0.1"]'},
        "defaults": _closed(shared, "what every strategy starts from"),
        "instrument": _named(_closed(_fields(Instrument, omit={"name"}), "own instruments, or changes to known ones")),
        "strategy": _named(_closed(own | shared, "one strategy")),
    }
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "mnq strategy file"}
    return {**title, **_closed(top, ""), "required": ["format", "strategy"], "definitions": kinds}, broken


def _strategy() -> dict[str, Schema]:
    """Return the keys of a strategy; the tables with `use` stand in the definitions."""
    plain = _fields(Plain)
    plain["instrument"]["examples"] = sorted(catalogue())
    plain["bar_size"]["pattern"] = _SIZES
    tables = {key: _own(cls) for key, cls in TABLES.items()}
    kinds = {kind: {"$ref": f"#/definitions/{kind}"} for kind in (*CHOICES, "features", "split")}
    features = {**_named(kinds["features"]), "description": "one table a set; its columns become NAME.column"}
    return {**plain, **kinds, "feeds": _feeds(), "features": features, **tables, "trade": _trade()}


def _feeds() -> Schema:
    """Return the table `feeds`."""
    dropped = {"const": DROPPED, "description": "drops a feed that a layer below has set"}
    feed = {**_fields(FeedPlain), "data": {"$ref": "#/definitions/data"}, "use": dropped}
    feed["bar_size"]["pattern"] = _SIZES
    return {**_named(_closed(feed, "")), "description": "one table a feed: bars beside the strategy's own"}


def _trade() -> Schema:
    """Return the table `trade`; the tables with `use` in it stand in the definitions."""
    alerts = {**_named({"$ref": "#/definitions/alert"}), "description": "one table for each way that alerts go"}
    tables = {"limits": _own(Limits), "heartbeat": _own(Beat), "broker": {"$ref": "#/definitions/broker"}}
    return _closed({**_fields(TradePlain), **tables, "alerts": alerts}, "with which broker and on which account")


def _own(cls: type) -> Schema:
    """Return the schema of a table that is read by a class of the core."""
    return _closed(_fields(cls), (inspect.getdoc(cls) or "").partition("\n")[0])


def _kind(kind: str, plugins: Plugins, broken: list[str]) -> Schema:
    """Return the schema of a table that names a plugin of one kind."""
    known: dict[tuple[str, ...], Schema] = {}
    anything: Schema = {}
    for piece in sorted((one for one in plugins.registered if one.kind == kind), key=lambda one: one.name):
        fields = _piece(piece, broken)
        if kind == "features" and fields is not None:
            fields = {"on": {"type": "string", "description": "the feed it is computed on"}, **fields}
        known[_words(piece, plugins)] = _closed({"use": True, **fields}, "") if fields is not None else {}
        anything |= dict.fromkeys(fields or {}, True)
    if kind == "features":
        known[DROPPED,] = _closed({"use": True}, "")
    return _using(known, anything, f"mnq list {kind}", USED.get(kind))


def _known(classes: Mapping[str, type], description: str, usual: str | None, *, dropped: bool = False) -> Schema:
    """Return the schema of a table that names one of the core's own classes."""
    known: dict[tuple[str, ...], Schema] = {
        (name,): _closed({"use": True, **_fields(cls)}, "") for name, cls in classes.items()
    }
    if dropped:
        known[DROPPED,] = _closed({"use": True}, "")
    anything = {name: True for cls in classes.values() for name in parameters(cls)}
    return _using(known, anything, description, usual)


def _using(known: dict[tuple[str, ...], Schema], anything: Schema, description: str, usual: str | None) -> Schema:
    """Return the schema of a table with `use`; `known` is what it may say -> the schema of the table then."""
    use: Schema = {"enum": [word for words in known for word in words], "description": description}
    if usual:
        use["default"] = usual
    return {"type": "object", "properties": {"use": use}, **_chain(list(known.items()), anything)}


def _chain(known: list[tuple[tuple[str, ...], Schema]], anything: Schema) -> Schema:
    """Return if/then/else over `use`; without it, any parameter of the kind may be given."""
    chain = _closed({"use": True, **anything}, "")
    for words, then in reversed(known):
        named = {"properties": {"use": {"enum": [*words]}}, "required": ["use"]}
        chain = {"if": named, "then": then, "else": chain}
    return chain


def _words(piece: Registered, plugins: Plugins) -> tuple[str, ...]:
    """Return what `use` may say for a piece: its bare name only where no other distribution has it too."""
    long = f"{piece.distribution}:{piece.name}"
    return (piece.name, long) if len(plugins.matching(piece.kind, piece.name)) == 1 else (long,)


def _piece(piece: Registered, broken: list[str]) -> dict[str, Schema] | None:
    """Return the parameters of a piece; None where it does not load."""
    try:
        cls = piece.load()
        for parameter in parameters(cls).values():
            settable(parameter)
        return _fields(cls)
    except PluginError as error:
        broken.append(str(error))
    except Exception as error:  # an outside class: its annotations may be anything
        broken.append(f"{piece.title} is not sound: {error}")
    return None


def _fields(cls: type, omit: Iterable[str] = ()) -> dict[str, Schema]:
    known = parameters(cls)
    return {name: _field(cls, known[name]) for name in known if name not in omit}


def _field(cls: type, parameter: Parameter) -> Schema:
    if parameter.type is Commission:
        forms = {"type": ["number", "object"], "minimum": 0}
        return {**_closed(_fields(Commission), parameter.help), **forms}
    unit = f" ({parameter.unit})" if parameter.unit else ""
    found: Schema = {**_type(parameter), "description": f"{parameter.help}{unit}"}
    if parameter.default is not None and not parameter.required and not isinstance(parameter.default, attrs.Factory):  # type: ignore[arg-type]
        found["default"] = _plain(parameter.default)
    if FURTHER.get((cls, parameter.name)) is clock:
        found["pattern"] = _CLOCK
    return found


def _type(parameter: Parameter) -> Schema:
    wanted = unwrapped(parameter.type)
    if get_origin(wanted) in (Union, types.UnionType):
        return _or_word(parameter, *get_args(wanted))
    if get_origin(wanted) is not tuple:
        return _scalar(wanted, parameter)
    args = get_args(wanted)
    if args[1:] == (...,):
        return {"type": "array", "items": _scalar(args[0], parameter)}
    items = [_scalar(arg, parameter) for arg in args]
    return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}


def _or_word(parameter: Parameter, wanted: Any, word: Any) -> Schema:
    """Return the schema of `T | Literal["word"]`; a bound says nothing of a string, nor a pattern of a number."""
    (known,) = get_args(word)
    found = _scalar(wanted, parameter)
    return {**found, "type": [found["type"], "string"], "pattern": f"^{known}$"}


def _scalar(wanted: Any, parameter: Parameter) -> Schema:
    bounds = {word: getattr(parameter, name) for name, word in _BOUNDS.items()}
    found = {"type": _TYPES[wanted], **{word: bound for word, bound in bounds.items() if bound is not None}}
    return {**found, "enum": list(parameter.choices)} if parameter.choices is not None else found


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _closed(properties: dict[str, Any], description: str) -> Schema:
    """Return an object that takes these keys and no others."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "description": description} if description else found


def _named(schema: Schema) -> Schema:
    """Return an object whose keys are names of the user's choice."""
    return {"type": "object", "propertyNames": {"pattern": _NAMES}, "additionalProperties": schema}
