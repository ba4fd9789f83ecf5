"""`mnq list KIND`: what a strategy file can name, and which parameters it takes."""

from __future__ import annotations

import inspect
import textwrap
import types
import typing
from typing import TYPE_CHECKING, Any

import attrs
import click

from mnqcore.api.contracts import KINDS
from mnqcore.api.parameters import Parameter, parameters
from mnqcore.cli.table import WIDTH, columns
from mnqcore.errors import PluginError, UsageError

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.plugins import Plugins, Registered


@click.command("list")
@click.argument("kind", required=False)
@click.option("--long", "long", is_flag=True, help="Also show each parameter: type, default, range, unit, help.")
@click.pass_obj
def list_pieces(context: Context, kind: str | None, long: bool) -> None:
    """List what a strategy file can name: one KIND of piece, or all.

    Kinds: data features reward bracket sizer extractor agent broker executor.
    """
    found = context.plugins()
    pieces = _pieces(found, kind)
    if context.format == "json":
        context.print_json("mnq.list/1", {"pieces": [_record(piece) for piece in pieces]})
    elif long:
        click.echo("\n\n".join("\n".join(_long(piece)) for piece in pieces))
    else:
        rows = [(piece.kind, piece.name, f"{piece.distribution} {piece.version}", _summary(piece)) for piece in pieces]
        click.echo("\n".join(columns(("KIND", "NAME", "DISTRIBUTION", "WHAT IT IS"), rows, wrap=(3,))))


def _pieces(found: Plugins, kind: str | None) -> list[Registered]:
    if kind is None:
        return sorted(found.registered, key=lambda piece: KINDS.index(piece.kind))
    found.names(kind)  # an unknown kind is a UsageError
    pieces = [piece for piece in found.registered if piece.kind == kind]
    if not pieces:
        raise UsageError(f"no {kind} is installed", next="mnq plugins lists what is")
    return pieces


def _record(piece: Registered) -> dict[str, Any]:
    """One piece for JSON; a class that does not import is told in `error` and has no parameters."""
    known = {"kind": piece.kind, "name": piece.name, "distribution": piece.distribution, "version": piece.version}
    try:
        cls = piece.load()
    except PluginError as error:
        return {**known, "summary": None, "parameters": None, "error": str(error)}
    listed = [_parameter_record(parameter) for parameter in parameters(cls).values()]
    return {**known, "summary": _first_line(cls), "parameters": listed, "error": None}


def _parameter_record(parameter: Parameter) -> dict[str, Any]:
    known = attrs.asdict(parameter, recurse=False)
    known.update(type=type_text(parameter.type), required=parameter.required)
    if parameter.required:
        known["default"] = None
    return known


def _long(piece: Registered) -> list[str]:
    lines = [f"{piece.title}"]
    try:
        cls = piece.load()
    except PluginError as error:
        return [*lines, f"  {error}"]
    lines += textwrap.wrap(_first_line(cls), WIDTH, initial_indent="  ", subsequent_indent="  ")
    for parameter in parameters(cls).values():
        lines += _described(parameter)
    return lines


def _described(parameter: Parameter) -> list[str]:
    """Return `name  type, range, unit, default` and the help below it."""
    default = "required" if parameter.required else f"default {toml_text(parameter.default)}"
    facts = ", ".join(
        fact for fact in (type_text(parameter.type), range_text(parameter), parameter.unit, default) if fact
    )
    head = textwrap.wrap(f"{parameter.name}  {facts}", WIDTH, initial_indent="    ", subsequent_indent=" " * 8)
    return head + textwrap.wrap(parameter.help, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)


def type_text(kind: Any) -> str:
    """Return a parameter's type as users write it: `int`, `float or none`, `list of str`."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(type_text(argument) for argument in arguments)
    if typing.get_origin(kind) is typing.Literal:
        return toml_text(arguments[0])
    if typing.get_origin(kind) is tuple:
        return f"list of {type_text(arguments[0])}"
    return "none" if kind in (None, type(None)) else getattr(kind, "__name__", str(kind))


def toml_text(value: Any) -> str:
    """Return a default as a strategy file would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml_text(item) for item in value)}]"
    return "none" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def range_text(parameter: Parameter) -> str:
    """Return the allowed values: `>= 0, < 1`, or the choices; "" when anything goes."""
    if parameter.choices is not None:
        return " | ".join(map(str, parameter.choices))
    bounds = ((">=", parameter.ge), (">", parameter.gt), ("<=", parameter.le), ("<", parameter.lt))
    return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def _summary(piece: Registered) -> str:
    try:
        return _first_line(piece.load())
    except PluginError as error:
        return f"(broken: {error.facts.get('why', error.what)})"


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
