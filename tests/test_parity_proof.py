"""A replay at full speed is the backtest: trade by trade, to the tick, at every bar."""

import pandas as pd
import pytest

from mnqcore import run
from mnqcore.plugins import load as load_plugins
from mnqcore.stages.options import Options
from mnqcore.trading.journal import FILE
from tests.sessions import BUSY, counts, kill_at, newest_run, proven, session, started, strategy_file
from tests.tiny import STRATEGY as TINY

pytestmark = pytest.mark.proof
NONE = {"features": 0, "orders": 0, "fills": 0, "ledger": 0}
SIZERS = {
    "fixed": "sizer={use='fixed', contracts=2}",
    "fixed-fractional": "sizer={use='fixed-fractional', risk=0.01}",
    "kelly": "sizer={use='kelly'}",
    "volatility": "sizer={use='volatility'}",
}
BRACKETS = {
    "fixed": "bracket={use='fixed', stop_ticks=120, target_ticks=200}",
    "atr": "bracket={use='atr', period=14, stop=3.0, target=6.0, min_ticks=40, max_ticks=400}",
    "none": "bracket={use='none'}",
}
UNSIZED = {("fixed-fractional", "none"), ("kelly", "none")}
"""Sizers that need a stop."""


def backtest(folder, name, *settings, text=None, **options):
    """Return the run of the backtest stage."""
    file = strategy_file(folder, text) if text else strategy_file(folder)
    return run(file, name, "backtest", list(settings), runs_dir=folder / "tested", options=Options(**options)).run


def tables(kept):
    path = getattr(kept, "path", kept)
    return pd.read_parquet(path / "trades.parquet"), pd.read_parquet(path / "equity.parquet")["equity"]


def assert_same(traded, tested):
    """Both runs hold the same trades, all columns of them, and the same equity at every bar."""
    (trades, equity), (others, curve) = tables(traded), tables(tested)
    pd.testing.assert_frame_equal(trades, others, check_exact=True)
    pd.testing.assert_series_equal(equity, curve, check_exact=True)
    return len(trades), len(equity)


@pytest.mark.parametrize("bracket", BRACKETS)
@pytest.mark.parametrize("sizer", SIZERS)
def test_every_sizer_with_every_bracket(tmp_path, sizer, bracket):
    if (sizer, bracket) in UNSIZED:
        pytest.skip("this sizer needs a stop")
    settings = (
        SIZERS[sizer], BRACKETS[bracket], "data.days=8", "data.market=trend", "risk.max_position=4",
        "risk.max_daily_loss=1500.0", *BUSY,
    )  # fmt: skip
    traded = session(tmp_path, "cross", *settings).run
    trades, bars = assert_same(traded, backtest(tmp_path, "cross", *settings))
    assert trades > 20
    assert bars > 2_000
    assert counts(proven(traded)) == NONE


def test_20_000_bars_of_a_rule_across_kills(tmp_path):
    settings = ("data.days=74", "data.start=2024-02-01", *BUSY)  # over the roll of March
    journal = tmp_path / "runs" / "sized" / ".session-replay-SIM" / FILE
    for bars in (1_234, 7_000, 14_999):
        kill_at(started(tmp_path, "sized", *settings), journal, bars)
    process = started(tmp_path, "sized", *settings)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    traded = newest_run(tmp_path, "sized")
    trades, bars = assert_same(traded, backtest(tmp_path, "sized", *settings))
    assert trades > 100
    assert bars > 20_000
    found = proven(traded)
    assert counts(found) == NONE
    assert found.given["restarts"] == 3


def test_20_000_bars_of_a_trained_model(tmp_path):
    split = "split={use='holdout', train=0.25, validate=0.05, embargo_bars=0}"
    settings = (split, "data.days=108", "agent.timesteps=2048", "agent.checkpoint=1024")
    file = strategy_file(tmp_path, TINY)
    model = run(
        file, None, "train", list(settings), plugins=load_plugins(()), runs_dir=tmp_path / "runs", options=Options()
    ).run  # fmt: skip
    tested = run(
        file, None, "backtest", list(settings), runs_dir=tmp_path / "runs", options=Options(model=model.name)
    ).run
    traded = session(tmp_path, "tiny", *settings, *BUSY, text=TINY, model=model.name).run
    trades, bars = assert_same(traded, tested)
    assert trades > 10
    assert bars > 20_000
    assert counts(proven(traded)) == NONE


def test_rows_from_anchors_across_kills(tmp_path):
    settings = ("data.days=8", 'trade.broker.start="2024-01-08"', *BUSY)
    folder = tmp_path / "runs" / "sized" / ".session-paper-SIM"
    for bars in (60, 290, 500):  # on the first trading day, and on later ones
        kill_at(started(tmp_path, "sized", *settings, mode="paper"), folder / FILE, bars)
        assert counts(proven(folder)) == NONE
    process = started(tmp_path, "sized", *settings, mode="paper")
    _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    found = proven(newest_run(tmp_path, "sized"))
    assert counts(found) == NONE
    assert (found.features.left, found.given["restarts"]) == (0, 3)
