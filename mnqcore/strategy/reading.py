"""Plain TOML values become attrs classes, strictly: cattrs with hooks that convert nothing but a whole number to float.

cattrs collects every error of a class; `faults` turns its tree of exceptions into paths and messages.
"""

from __future__ import annotations

import functools
import re
import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import attrs
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, IterableValidationError
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from mnqcore.api.parameters import Parameter, parameters
from mnqcore.errors import suggest
from mnqcore.strategy.overrides import Given
from mnqcore.strategy.settings import FURTHER, HINTS, Commission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnqcore.strategy.places import Path

    Reader = Callable[[Any, Any], Any]

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: 'a string "..."'}
_CONTROL = re.compile(r"[A-Za-z]:.*[\b\t\n\f\r\x1b]", re.DOTALL)


class Refusal(ValueError):
    """A value that does not fit; the message follows the key's name."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@attrs.frozen
class Fault:
    """One error in a table: the keys that lead to it, the text, what to do.

    `kind` is "value", "unknown" (a key), "missing" (a key) or "rule" (the values do not go together).
    """

    keys: Path
    message: str
    hint: str | None = None
    kind: str = "value"


def read(cls: type, values: object, *, omit: frozenset[str] = frozenset()) -> Any:
    """Return an instance of a class made of `param()` fields from plain TOML values; `omit` are never read.

    Raises:
        Exception: what cattrs or the class raises; `faults` explains it.
    """
    if not isinstance(values, dict):
        raise Refusal(f"must be a table, was {described(values)}")
    return _structure(cls, omit)(values, cls)


@functools.lru_cache(maxsize=256)
def _structure(cls: type, omit: frozenset[str]) -> Reader:
    """Return cattrs' function for a class; making it costs a millisecond."""
    known = parameters(cls)
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    overrides: Any = {field.name: override(omit=True) for field in attrs.fields(cls)}
    overrides |= {name: override(struct_hook=reader(cls, known[name])) for name in known.keys() - omit}
    structure: Reader = make_dict_structure_fn(cls, converter, **overrides)
    return structure


def faults(error: BaseException, cls: type, keys: Path = (), omit: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """Yield every fault in what `read(cls, ..., omit=omit)` raised; `keys` lead to the table that it read."""
    known = {name: parameter for name, parameter in parameters(cls).items() if name not in omit}
    if not isinstance(error, ClassValidationError):
        yield from _leaf(error, keys)
        return
    noted, others = error.group_exceptions()
    for inner, note in noted:
        if isinstance(inner, KeyError):
            yield Fault((*keys, note.name), f"needs {note.name!r}", known[note.name].help or None, "missing")
        else:
            yield from _leaf(inner, (*keys, note.name), known[note.name])
    for inner in others:
        yield from _extra(inner, known, keys) if isinstance(inner, ForbiddenExtraKeysError) else _leaf(inner, keys)


def settable(parameter: Parameter) -> None:
    """Raise TypeError if no strategy file can hold a parameter of this type."""
    wanted = unwrapped(parameter.type)
    args = get_args(wanted)
    scalars = [arg for arg in args if arg is not ...] if get_origin(wanted) is tuple else [wanted]
    if not all(scalar in _WORDS for scalar in scalars):
        raise TypeError(f"parameter {parameter.name!r} is of type {parameter.type}, which no file can hold")


def canonical(parameter: Parameter, value: Any) -> Any:
    """Return a plugin's own value of a parameter as reading it from a file gives it: 1 for a float becomes 1.0.

    Raises:
        ValueError: the value is not of the declared type.
    """
    if value is None:
        return None
    try:
        return typed(_listed(value), parameter.type)
    except (Refusal, IterableValidationError) as error:
        raise ValueError(f"{parameter.name} {error}") from error


def reader(cls: type, parameter: Parameter) -> Reader:
    """Return the function that reads one parameter: its type, its range, and what more is asked of it."""
    further, hint = FURTHER.get((cls, parameter.name)), HINTS.get((cls, parameter.name))

    def hook(value: Any, _type: Any) -> Any:
        if parameter.type is Commission:
            return _commission(value)
        found = typed(value, parameter.type)
        _fits(found, parameter, hint)
        if further and (complaint := further(found)):
            raise Refusal(complaint, hint)
        return found

    return hook


def typed(value: Any, wanted: Any) -> Any:
    """Return a TOML value as the wanted type; Refusal, or IterableValidationError for items of an array."""
    wanted, shape = unwrapped(wanted), get_origin(unwrapped(wanted))
    if shape in (Union, types.UnionType):
        return _or_word(value, *get_args(wanted))
    if isinstance(value, Given):
        value = _given(value, wanted)
    if shape is tuple:
        return _array(value, get_args(wanted))
    if wanted is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    if wanted not in _WORDS:
        raise TypeError(f"a parameter of type {wanted} cannot be set from a file")
    if type(value) is not wanted:
        raise Refusal(f"must be {_WORDS[wanted]}, was {described(value)}")
    if wanted is int and not -(2**63) <= value < 2**63:
        raise Refusal(f"must fit 64 bits, was {described(value)}")
    if wanted is str and _CONTROL.match(value):
        raise Refusal(
            'holds a control character: \\t, \\n, ... in a "..." string',
            "write a Windows path as 'C:\\folder\\file' (single quotes) or C:/folder/file",
        )
    return value


def unwrapped(wanted: Any) -> Any:
    """Return T of `T | None`, any other type as it is."""
    if get_origin(wanted) in (Union, types.UnionType):
        inner = [part for part in get_args(wanted) if part is not type(None)]
        return inner[0] if len(inner) == 1 else wanted
    return wanted


def described(value: Any) -> str:
    """Return a TOML value as a user would name it, cut to a readable length."""
    if isinstance(value, Given):
        value = _given(value, None)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if type(value) is int and abs(value) >= 2**63:
        return "a number beyond 64 bits"  # one of thousands of digits cannot even be printed
    text = str(value).lower() if isinstance(value, bool) else ascii(value) if isinstance(value, str) else str(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{text} (a string)" if isinstance(value, str) else text


def unknown(key: str, known: list[str]) -> str:
    """Return what to do about an unknown key."""
    if meant := suggest(key, known):
        return f"did you mean {meant!r}?"
    return f"known: {', '.join(known)}" if known else "it takes none"


def _given(given: Given, wanted: Any) -> Any:
    """Return what a `--set` means: as TOML, but as it was typed where that is no TOML or a string is wanted."""
    if wanted is str:
        return given.value if isinstance(given.value, str) else given.typed
    return given.typed if given.value is None else given.value


def _or_word(value: Any, wanted: Any, word: Any) -> Any:
    """Return a value of the type `T | Literal["word"]`."""
    (known,) = get_args(word)
    plain = _given(value, None) if isinstance(value, Given) else value
    if plain == known:
        return plain
    try:
        return typed(plain, wanted)
    except Refusal:
        raise Refusal(f'must be {_WORDS[wanted]} or "{known}", was {described(plain)}') from None


def _array(value: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if type(value) is not list:
        raise Refusal(f"must be an array [...], was {described(value)}")
    wanted = [args[0]] * len(value) if args[1:] == (...,) else list(args)
    if len(wanted) != len(value):
        raise Refusal(f"must be an array of {len(wanted)}, was one of {len(value)}")
    return _each(value, lambda number, item: typed(item, wanted[number]))


def _fits(value: Any, parameter: Parameter, hint: str | None) -> None:
    if isinstance(value, tuple):
        _each(list(value), lambda _, item: _fits(item, parameter, hint))
    elif complaint := parameter.complaint(value):
        words = [choice for choice in parameter.choices or () if isinstance(choice, str)]
        meant = suggest(value, words) if isinstance(value, str) else None
        raise Refusal(complaint, f"did you mean {meant!r}?" if meant else hint or _help(parameter))


def _each(items: list[Any], read_item: Callable[[int, Any], Any]) -> tuple[Any, ...]:
    """Return every item read; all that fail are raised together, each noted with its position."""
    done, errors = [], []
    for number, item in enumerate(items):
        try:
            done.append(read_item(number, item))
        except (Refusal, IterableValidationError) as error:
            error.add_note(IterableValidationNote(f"item {number}", number, None))
            errors.append(error)
    if errors:
        raise IterableValidationError("array", errors, tuple)
    return tuple(done)


def _commission(value: Any) -> Commission:
    plain = value.value if isinstance(value, Given) else value
    if isinstance(plain, dict):
        commission: Commission = read(Commission, plain)
        return commission
    known = parameters(Commission)["per_contract"]
    return Commission(per_contract=reader(Commission, known)(value, float))


def _leaf(error: BaseException, keys: Path, parameter: Parameter | None = None) -> Iterator[Fault]:
    if isinstance(error, ClassValidationError):
        yield from faults(error, Commission, keys)  # the only table within a table
    elif isinstance(error, IterableValidationError):
        for inner, note in error.group_exceptions()[0]:
            yield from _leaf(inner, (*keys, note.index), parameter)
    elif isinstance(error, Refusal):
        name = next((key for key in reversed(keys) if isinstance(key, str)), "")
        yield Fault(keys, f"{name} {error}", error.hint or (_help(parameter) if parameter else None))
    else:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        yield Fault(keys, text or type(error).__name__, kind="rule")


def _extra(error: ForbiddenExtraKeysError, known: dict[str, Parameter], keys: Path) -> Iterator[Fault]:
    for key in sorted(error.extra_fields):
        yield Fault((*keys, key), key, unknown(key, list(known)), "unknown")


def _help(parameter: Parameter) -> str | None:
    unit = f" ({parameter.unit})" if parameter.unit else ""
    return f"{parameter.name}: {parameter.help}{unit}" if parameter.help else None


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
