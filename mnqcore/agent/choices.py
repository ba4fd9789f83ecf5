"""The plugins of a model: how its manifest names them, and how they are found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore.agent.files import plain
from mnqcore.api.parameters import parameters
from mnqcore.errors import DataError, MnqError, PluginError
from mnqcore.strategy import reading
from mnqcore.strategy.model import Choice

if TYPE_CHECKING:
    from mnqcore.plugins import Plugins, Registered

_KEYS = {"use", "distribution", "version", "params"}


def described(choice: Choice) -> dict[str, Any]:
    """Return a plugin as a manifest names it; parameters that are not set (None) are left out."""
    params = {name: value for name, value in choice.params.items() if value is not None}
    on = {"on": choice.on} if choice.on else {}
    return {"use": choice.name, "distribution": choice.distribution, "version": choice.version, "params": params, **on}


def found(kind: str, document: Any, plugins: Plugins) -> tuple[Choice, str]:
    """Return the plugin that a manifest names, of whatever version is installed, and the version that it names.

    Raises:
        DataError: the manifest does not name a plugin.
        PluginError: it is not installed, or takes other parameters by now.
    """
    keys = _KEYS | {"on"} if kind == "features" and isinstance(document, dict) and "on" in document else _KEYS
    if not isinstance(document, dict) or document.keys() != keys or not isinstance(document["params"], dict):
        raise DataError(f"the manifest of a model names no {kind}", found=plain(document))
    use, distribution, version = (plain(document[key]) for key in ("use", "distribution", "version"))
    wanted = f"{kind} '{use}' of {distribution} {version}"
    try:
        piece = plugins.find(kind, f"{distribution}:{use}")
        cls = piece.load()
    except PluginError as error:
        raise PluginError(
            f"the model needs {wanted}",
            found=error.what,
            **{key: text for key, text in error.facts.items() if key in ("where", "why")},
            next=_remedy(distribution, version, plugins),
        ) from error
    params = _params(piece, cls, document["params"], wanted)
    choice = Choice(
        kind=kind,
        use=f"{distribution}:{use}",
        distribution=distribution,
        version=piece.version,
        params=params,
        cls=cls,
        on=plain(document.get("on", "")),
    )
    return choice, version


def _params(piece: Registered, cls: type, values: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Return the parameters as the class reads them now; what was added since has its default."""
    try:
        made = reading.read(cls, values)
        return {name: reading.canonical(one, getattr(made, name)) for name, one in parameters(cls).items()}
    except MnqError:
        raise
    except Exception as error:  # whatever cattrs, or the class itself, raises
        reasons = "; ".join(fault.message for fault in reading.faults(error, cls))
        raise PluginError(
            f"the model needs {wanted}, and {piece.distribution} {piece.version} takes other parameters",
            found=plain(reasons or type(error).__name__),
            next=f"install {piece.distribution} {wanted.rpartition(' ')[2]}, or train the model again",
        ) from error


def _remedy(distribution: str, version: str, plugins: Plugins) -> str:
    if distribution.startswith("mnq-local-"):
        return "load the file of that plugin: -p FILE.py"
    installed = any(piece.distribution == distribution for piece in plugins.registered)
    return f'pip install "{distribution}=={version}"' + (", or look at: mnq plugins" if installed else "")
