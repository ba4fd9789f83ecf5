"""`@plugin`, `param()` and `state()`: how a plugin class declares what a user may set.

A parameter carries its range, unit and help once; the strategy file's checks, the JSON schema, `mnq list`
and the class's own constructor all read them from here.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

_Class = TypeVar("_Class", bound=type)
_KEY = "mnq"
_STATE = "state"


@attrs.frozen(kw_only=True)
class Parameter:
    """What is known of one parameter; `type` is filled in by `parameters()`.

    `unit` is printed beside the value (ticks, dollars, bars, ...); `tune` is the range that a search may try.
    """

    name: str = ""
    type: Any = None
    default: Any = attrs.NOTHING
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    help: str = ""
    unit: str = ""
    tune: tuple[Any, ...] | None = None

    @property
    def required(self) -> bool:
        """Whether a user must give it."""
        return self.default is attrs.NOTHING

    def complaint(self, value: object) -> str | None:
        """Return why `value` is out of range, or None. Types are checked where text becomes values."""
        if isinstance(value, (list, tuple)):
            return next((found for item in value if (found := self.complaint(item))), None)
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, was {value}"
        if self.choices is not None and value not in self.choices:
            return f"must be one of {', '.join(map(repr, self.choices))}, was {value!r}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        bounds: tuple[tuple[float | None, str, Callable[[float, float], bool]], ...] = (
            (self.ge, "at least", operator.ge),
            (self.gt, "above", operator.gt),
            (self.le, "at most", operator.le),
            (self.lt, "below", operator.lt),
        )
        for bound, words, holds in bounds:
            if bound is not None and not holds(value, bound):
                return f"must be {words} {bound}, was {value}"
        return None


def param(
    default: Any = attrs.NOTHING,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[Any, ...] | None = None,
    help: str = "",  # noqa: A002 - the word authors expect
    unit: str = "",
    tune: tuple[Any, ...] | None = None,
) -> Any:
    """Declare a parameter of a plugin; without a default the user must give it.

    Types that a strategy file can hold: bool, int, float, str, `tuple[T, ...]` of them, and `T | None`.
    """
    meta = Parameter(default=default, ge=ge, gt=gt, le=le, lt=lt, choices=choices, help=help, unit=unit, tune=tune)
    return attrs.field(default=default, kw_only=True, validator=_in_range, metadata={_KEY: meta})


def state(factory: Callable[[], Any] | None = None) -> Any:
    """Declare mutable state of a plugin: never in TOML, schema or hash; made anew by `factory` (default None)."""
    return attrs.field(
        default=attrs.Factory(factory or _nothing), init=False, repr=False, eq=False, metadata={_KEY: _STATE}
    )


@dataclass_transform(
    kw_only_default=True
)  # not `param` as specifier: its default is positional, which checkers overlook
def plugin(cls: _Class) -> _Class:
    """Make a plugin class: keyword-only parameters, checked ranges, no attribute that was not declared."""
    return attrs.define(cls, slots=True, kw_only=True, auto_attribs=False)  # slots: undeclared state fails at once


def parameters(cls: type) -> dict[str, Parameter]:
    """Return name -> parameter of a plugin class, in order of declaration."""
    attrs.resolve_types(cls)
    return {
        field.name: attrs.evolve(field.metadata[_KEY], name=field.name, type=field.type)
        for field in attrs.fields(cls)
        if isinstance(field.metadata.get(_KEY), Parameter)
    }


def states(cls: type) -> list[str]:
    """Return the names of a plugin class's declared state."""
    return [field.name for field in attrs.fields(cls) if field.metadata.get(_KEY) == _STATE]


def _nothing() -> None:
    return None


def _in_range(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if complaint := attribute.metadata[_KEY].complaint(value):
        raise ValueError(f"{attribute.name} {complaint}")
