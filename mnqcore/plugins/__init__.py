"""Loads plugins one by one: a broken one is rolled back and reported, and the rest works.

    plugins = load(["./my_reward.py", "no:mnq-noisy"])
    plugins.find("reward", "patience").load()

Every call makes a fresh pluggy manager; there is no global one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pluggy

from mnqcore import hookspecs
from mnqcore.errors import UsageError
from mnqcore.plugins import discovery
from mnqcore.plugins.isolation import admit
from mnqcore.plugins.records import Broken, Disabled, Registered, Source
from mnqcore.plugins.registry import Plugins
from mnqcore.plugins.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Broken", "Disabled", "Plugins", "Registered", "Source", "load"]


def load(extra: Sequence[str] = (), *, environ: Mapping[str, str] = os.environ) -> Plugins:
    """Load the built-ins, the installed plugins and those of `extra`.

    Args:
        extra: `-p` values: "FILE.py" loads a one-file plugin, "no:DISTRIBUTION" or "no:kind/name" switches off.
        environ: `MNQ_LOAD_PLUGINS=a,b` limits installed plugins to these distributions (empty = none).

    Raises:
        UsageError: a `-p` value or `MNQ_LOAD_PLUGINS` names what is not there.
        PluginError: mnq itself is not installed.
    """
    sources = discovery.installed()
    switches = Switches.read(extra, environ, sources)
    plugins = _empty()
    for source in [*sources, *map(discovery.one_file, switches.files)]:
        _add(plugins, source, switches)
    switches.drop_pieces(plugins)
    return plugins


def _empty() -> Plugins:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return Plugins(registered=[], broken=[], disabled=[], files=(), sources={}, manager=manager)


def _add(plugins: Plugins, source: Source, switches: Switches) -> None:
    if by := switches.blocks(source):
        plugins.disabled.append(Disabled(distribution=source.distribution, version=source.version, by=by))
        return
    if source.key in plugins.sources:
        raise UsageError(f"-p {source.file} is given twice, or two files share its name", next="rename one of them")
    plugins.sources[source.key] = source
    if source.file:
        plugins.files += (source.file,)
    pieces, broken = admit(plugins._manager, source, plugins.registered)
    plugins.registered.extend(pieces)
    if broken:
        plugins.broken.append(broken)
