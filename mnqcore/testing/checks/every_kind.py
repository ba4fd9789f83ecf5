"""What every piece keeps to, whatever its kind: it is documented, and its parameters are sound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mnqcore.api.contracts import KINDS
from mnqcore.api.parameters import parameters, states
from mnqcore.testing.verdict import Fault, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnqcore.api.parameters import Parameter
    from mnqcore.testing.subject import Subject

_METHODS = {
    "data": ("bars",),
    "features": ("compute",),
    "reward": ("__call__",),
    "bracket": ("levels",),
    "sizer": ("__call__",),
    "extractor": ("build",),
    "broker": ("connect", "submit", "cancel", "events"),
    "executor": ("map",),
}
"""kind -> the methods without which it is none; an agent has those of a rule or those of a learner."""
_STATELESS = ("data", "features", "bracket", "sizer", "extractor", "executor")


@check("docstring", *KINDS)
def docstring(subject: Subject) -> Iterator[Fault]:
    """The class says in its docstring what it is: `mnq list` shows the first line."""
    if not (subject.cls.__dict__.get("__doc__") or "").strip():
        yield Fault("the class has no docstring", subject.place(), "write a line of what it does below the class line")


@check("help", *KINDS)
def every_parameter_is_explained(subject: Subject) -> Iterator[Fault]:
    """Every parameter has a help: it is what a user of the strategy file reads."""
    for name, one in parameters(subject.cls).items():
        if not one.help.strip():
            yield Fault(f"parameter {name} has no help", subject.place(), f'{name} = param(..., help="...")')


@check("methods", *KINDS)
def methods(subject: Subject) -> Iterator[Fault]:
    """The class has the methods of its kind."""
    wanted: tuple[str, ...] = _METHODS.get(subject.kind, ())
    if subject.kind == "agent":
        wanted = ("train", "act", "save", "load") if subject.learns else ("signals",)
    for name in wanted:
        if not callable(getattr(subject.cls, name, None)):
            yield Fault(f"the class has no method {name}", subject.place())


@check("state", *_STATELESS)
def stateless(subject: Subject) -> Iterator[Fault]:
    """It declares no state: only rewards, learners and brokers may remember."""
    for name in states(subject.cls):
        yield Fault(
            f"{name} is state, and a {subject.kind} is asked in any order",
            subject.place(),
            "work with what it is given; a sizer has entry.signal for what is worked out from bars",
        )


@check("parameter types", *KINDS)
def types_that_a_file_can_hold(subject: Subject) -> Iterator[Fault]:
    """Every parameter is of a type that a strategy file can hold, and its default is of that type."""
    from mnqcore.strategy.reading import canonical, settable

    for name, one in parameters(subject.cls).items():
        try:
            settable(one)
            if not one.required:
                canonical(one, one.default)
        except (TypeError, ValueError) as error:
            yield Fault(f"parameter {name}: {error}", subject.place())


@check("default construction", *KINDS)
def default_construction(subject: Subject) -> Iterator[Fault]:
    """It can be made of its defaults, and of the parameters that have none."""
    subject.need_given()
    try:
        subject.cls(**subject.params)
    except Exception as error:
        yield Fault(
            f"it cannot be made of its defaults: {type(error).__name__}: {error}",
            subject.place(),
            "a default must lie in the range of its own parameter",
        )


@check("TOML round trip", *KINDS)
def round_trip(subject: Subject) -> Iterator[Fault]:
    """Its parameters, written into a strategy file and read back, are the same."""
    import tomli

    from mnqcore.strategy.reading import read

    before = {name: value for name, value in subject.choice.params.items() if value is not None}
    again = read(subject.cls, tomli.loads(as_toml(before)))
    for name in subject.choice.params:
        if (was := subject.choice.params[name]) != (now := getattr(again, name)):
            yield Fault(
                f"parameter {name} was {was!r}, and is {now!r} once it was written and read",
                subject.place(),
                "leave parameters as they are given: what follows from them belongs into a property",
            )


@check("bad values", *KINDS)
def bad_values_are_refused(subject: Subject) -> Iterator[Fault]:
    """A value out of its range, or of another type, is refused."""
    from mnqcore.strategy.reading import read

    given = _listed(subject.choice.params)
    for name, one in parameters(subject.cls).items():
        for bad in _bad(one):
            if _refuses(lambda bad=bad, name=name: read(subject.cls, given | {name: bad})) and (  # type: ignore[misc]
                isinstance(bad, dict) or _refuses(lambda bad=bad, name=name: _made(subject, name, bad))  # type: ignore[misc]
            ):
                continue
            yield Fault(f"{name} = {bad!r} is taken", subject.place(), "give the parameter a range: ge, gt, le, lt")


@check("ends of ranges", *KINDS)
def ends_of_ranges(subject: Subject) -> Iterator[Fault]:
    """At the ends of a parameter's range it can be made, or refuses with a ValueError that says why."""
    given = dict(subject.choice.params)
    for name, one in parameters(subject.cls).items():
        for value in _ends(one):
            try:
                subject.cls(**given | {name: value})
            except ValueError:
                continue
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
                yield Fault(
                    f"{name} = {value!r} raises {found}", subject.place(), "raise ValueError, or narrow the range"
                )


def _refuses(make: Callable[[], Any]) -> bool:
    try:
        make()
    except Exception:  # any refusal will do: the next check looks at its kind
        return True
    return False


def _made(subject: Subject, name: str, value: Any) -> Any:
    plain = tuple(value) if isinstance(value, list) else value
    return subject.cls(**subject.choice.params | {name: plain})


def as_toml(params: dict[str, Any]) -> str:
    """Return parameters as the lines of a table; what is None is left out."""
    from mnqcore.strategy.resolved import value

    return "".join(f"{name} = {value(item)}\n" for name, item in params.items() if item is not None)


def _listed(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as TOML has them: arrays are lists, and nothing is None."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _bad(one: Parameter) -> list[Any]:
    """Return values of a parameter that must be refused."""
    bad: list[Any] = [{"a": 1}]
    bad += ["no such word"] if one.choices is not None else []
    step = 1 if one.type is int else 1e-3
    bounds = ((one.ge, -step), (one.gt, 0), (one.le, step), (one.lt, 0))
    outside = [bound + off * max(abs(bound), 1) for bound, off in bounds if bound is not None]
    numbers = [math.nan, math.inf] if one.type is float else []
    for value in (*outside, *numbers):
        bad.append([value] if _is_array(one) else value)
    return bad


def _ends(one: Parameter) -> list[Any]:
    ends = [bound for bound in (one.ge, one.le) if bound is not None] + list(one.choices or ())
    number = int if one.type is int else float
    values = [number(end) if isinstance(end, (int, float)) and not isinstance(end, bool) else end for end in ends]
    if not _is_array(one):
        return values
    inner = int if "int" in str(one.type) else lambda item: item
    return [(inner(item),) for item in values]


def _is_array(one: Parameter) -> bool:
    return "tuple" in str(one.type)
