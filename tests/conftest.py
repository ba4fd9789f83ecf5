"""Fixtures that several test modules share."""

import sys
import textwrap

import pytest


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a plugin distribution as pip would leave it: install("mnq-x", "1.0", code, requires=[...])."""
    site = tmp_path / "site-packages"
    site.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(site))

    def write(distribution, version, code, *, module=None, entry=None, requires=(), entry_points=None):
        module = module or distribution.replace("-", "_")
        monkeypatch.delitem(sys.modules, module, raising=False)  # another test's module of that name
        (site / f"{module}.py").write_text(textwrap.dedent(code))
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        (info / "METADATA").write_text("\n".join(lines + [f"Requires-Dist: {text}" for text in requires]) + "\n")
        entry = entry or distribution.removeprefix("mnq-")
        (info / "entry_points.txt").write_text(entry_points or f"[mnq]\n{entry} = {module}\n")
        monkeypatch.syspath_prepend(str(site))  # forgets what was cached of the folder
        return site / f"{module}.py"

    yield write
    for name in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="session")
def make_view():
    """Make a view of synthetic bars, stitched: make_view(days=15, instrument="MNQ", bar_size="5min", start=...)."""
    import pandas as pd

    from mnqcore import BarRequest, Calendar, MarketView
    from mnqcore.market.instruments import catalogue
    from mnqcore.market.rolls import stitch
    from mnqplugins.data.synthetic import Synthetic

    def make(days=15, *, instrument="MNQ", bar_size="5min", **parameters):
        traded, size = catalogue()[instrument], pd.Timedelta(bar_size)
        calendar = Calendar(traded)
        stitched = stitch(
            Synthetic(days=days, **parameters).bars(BarRequest(instrument=traded, bar_size=size)), calendar
        )
        bars, prices = stitched.bars.copy(), ["open", "high", "low", "close"]
        bars[prices] = bars[prices].mul(stitched.factor, axis=0)
        return MarketView(bars=bars, factor=stitched.factor, instrument=traded, calendar=calendar, bar_size=size)

    return make
