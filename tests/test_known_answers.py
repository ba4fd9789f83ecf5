"""The whole road, from a strategy file to figures on unseen bars, in markets whose answer is known.

In `trend` and `mean-revert` about a tenth of a bar's standard deviation can be foretold from the returns before it: a
short training must find that, and keep it after costs on bars that it has not seen. In `no-edge` nothing can be
foretold: what earns there without costs has seen the future, wherever between bars and figures it came through.
"""

import textwrap

import numpy as np
import pytest

import mnqcore
from mnqcore import Calendar, PluginError
from mnqcore.market.instruments import catalogue
from mnqcore.metrics import daily_equity, sharpe_interval
from mnqcore.metrics.returns import daily_returns
from mnqcore.plugins import load

pytestmark = pytest.mark.proof

MNQ = Calendar(catalogue()["MNQ"])
BALANCE = 25_000.0
SEEDS = (1, 2, 3, 4, 5)
STRATEGY = f"""
format = 1

[defaults]
lookback = 8
extractor = {{ use = "gru", hidden = 16 }}
reward = {{ use = "equity-change" }} # judges every bar by itself, trade-pnl none but the last of a trade
bracket = {{ use = "fixed", stop_ticks = 800 }}
costs = {{ initial_balance = {BALANCE} }}
env = {{ episode_bars = 552 }} # two days

[defaults.agent]
use = "ppo"
timesteps = 98_304
checkpoint = 24_576
n_envs = 16
n_steps = 256
batch_size = 1024
n_epochs = 6
learning_rate = 3e-3
gamma = 0.9
gae_lambda = 0.9
ent_coef = 0.01
hidden = [32]

[strategy.edge]
summary = "82 days to learn from, the last 91 of 200 to be tested on"
data = {{ use = "synthetic", days = 200 }}
features.moves = {{ use = "returns", horizons = [12, 48, 192] }}
split = {{ use = "holdout", train = 0.4, validate = 0.15 }}

[strategy.fair]
summary = "Tested on three quarters of the days, without costs: a small edge would show"
data = {{ use = "synthetic", market = "no-edge", days = 250 }}
features.moves = {{ use = "returns", horizons = [12, 48, 192] }}
split = {{ use = "holdout", train = 0.2, validate = 0.05 }}
costs = {{ commission = 0.0, slippage_ticks = 0 }}
agent = {{ timesteps = 49_152 }}

[strategy.hindsight]
extends = "fair"
data = {{ use = "hindsight", days = 250 }}
features.flow = {{ use = "flow" }}

[strategy.tomorrow]
extends = "fair"
features.tomorrow = {{ use = "tomorrow" }}
"""
LEAKS = """
    import numpy as np

    from mnqcore import hookimpl, param, plugin
    from mnqplugins.data.synthetic import Synthetic


    @plugin
    class Tomorrow:
        '''The return of the bar after.'''

        warmup = 0

        def compute(self, view):
            after = np.log(view.bars["close"]).diff().shift(-1)
            return after.fillna(0.0).to_frame("move")


    @plugin
    class Hindsight:
        '''Deliver bars with a column `flow` that was made with hindsight: the return of the bar after, under noise.'''

        days: int = param(250, ge=2)
        seed: int = param(0, ge=0)
        noise: float = param(0.0, ge=0, help="its standard deviation, in that of the return")

        def bars(self, request):
            bars = Synthetic(market="no-edge", days=self.days, seed=self.seed).bars(request)
            log, contract = np.log(bars["close"]), bars["contract"]
            after = (log.groupby(contract).shift(-1) - log).fillna(0.0)
            drawn = np.random.default_rng([self.seed, 1]).standard_normal(len(bars))
            return bars.assign(flow=after + self.noise * after.std() * drawn)


    @plugin
    class Flow:
        '''What the data source calls flow.'''

        warmup = 0

        def compute(self, view):
            return view.bars[["flow"]]


    @hookimpl
    def register_data_sources(register):
        register("hindsight", Hindsight)


    @hookimpl
    def register_feature_sets(register):
        register("tomorrow", Tomorrow)
        register("flow", Flow)
"""


@pytest.fixture
def train(tmp_path):
    """Train and test a strategy by a seed on bars of a seed: train("edge", 1, {"data.market": "trend"})."""
    (tmp_path / "known.toml").write_text(STRATEGY)
    (tmp_path / "leaks.py").write_text(textwrap.dedent(LEAKS))

    def made(strategy, seed, settings=None):
        plugins = load([str(tmp_path / "leaks.py")], environ={})
        assert plugins.broken == []
        asked = {"seed": seed, "data.seed": seed, **(settings or {})}
        return mnqcore.run(
            tmp_path / "known.toml", strategy, "train,backtest", asked, plugins=plugins, runs_dir=tmp_path / "runs"
        )

    return made


def pooled(results):
    """Return the daily returns of several accounts one after the other, as if they were one account's days.

    Each account was trained from its own seed on its own market, so the days of one say nothing of another's: together
    they are one longer sample of what the same road makes of a market. The Sharpe ratio of all of them is thus known
    sqrt(accounts) times better than one account's: of 5 x 188 days, to 1.7 a year at 99.9 %.
    """
    return np.concatenate([returns_of(result.equity) for result in results])


def returns_of(equity):
    days = MNQ.locate(equity.index).day
    return daily_returns(daily_equity(equity.to_numpy(), days)[1], BALANCE)


def interval(returns):
    """Return the 99.9 % interval of the Sharpe ratio; of many draws, since 1 in 2,000 is wanted on each side."""
    return sharpe_interval(returns, MNQ.days_per_year, level=0.999, draws=20_000)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("market", ["trend", "mean-revert"])
def test_ppo_finds_the_edge_and_keeps_it_after_costs_on_unseen_bars(market, seed, train):
    result = train("edge", seed, {"data.market": market})
    metrics = result.metrics
    baselines = metrics["baselines"]

    assert metrics["window"]["name"] == "test"
    assert metrics["costs"]["commission"] > 0
    assert metrics["net_profit"] > baselines["buy_and_hold"]["net_profit"]
    assert metrics["net_profit"] > baselines["random"]["high"]["net_profit"]
    assert metrics["net_profit"] > 0


def test_nothing_is_earned_where_nothing_can_be_foretold(train):
    results = [train("fair", seed) for seed in SEEDS]
    returns = pooled(results)
    low, high = interval(returns)

    assert all(len(result.trades) > 20 for result in results)  # an account that does nothing proves nothing
    assert len(returns) > 900
    assert low < 0 < high


@pytest.mark.parametrize(("noise", "seeds"), [(0.0, SEEDS[:2]), (10.0, SEEDS)], ids=["clear", "faint"])
def test_the_alarm_rings_where_the_bars_themselves_know_the_future(noise, seeds, train):
    results = [train("hindsight", seed, {"data.noise": noise}) for seed in seeds]
    low, _ = interval(pooled(results))

    # Markets and seeds are those of the fair test, only the column is new. It came with the bars: no look at what
    # plugins make of them can see that it was made with hindsight.
    assert all(result.run.manifest["data"]["look_ahead_bars"] > 0 for result in results)
    assert low > 0


def test_the_same_leak_in_a_feature_set_is_refused_before_any_training(train, tmp_path):
    with pytest.raises(PluginError, match="'tomorrow' looks into the future"):
        train("tomorrow", 1)

    assert [path.name.rpartition("-")[2] for path in (tmp_path / "runs").glob("tomorrow/*")] == ["failed"]
