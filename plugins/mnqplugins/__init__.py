"""The built-in plugins of mnq, registered the way an outside package registers its own.

Each piece is named by a "module:Class" string and imported on first use, so listing them costs nothing.
"""

from __future__ import annotations

from mnqcore import Register, hookimpl


@hookimpl
def register_data_sources(register: Register) -> None:
    """Register where bars come from."""
    register("synthetic", "mnqplugins.data.synthetic:Synthetic")
    register("file", "mnqplugins.data.file:File")


@hookimpl
def register_feature_sets(register: Register) -> None:
    """Register what is computed from bars."""
    register("returns", "mnqplugins.features.returns:Returns")
    register("technical", "mnqplugins.features.technical:Technical")
    register("clock", "mnqplugins.features.clock:Clock")


@hookimpl
def register_rewards(register: Register) -> None:
    """Register how a step is judged."""
    register("trade-pnl", "mnqplugins.rewards.trade_pnl:TradePnl")
    register("equity-change", "mnqplugins.rewards.equity_change:EquityChange")
    register("differential-sharpe", "mnqplugins.rewards.differential_sharpe:DifferentialSharpe")
    register("drawdown-penalty", "mnqplugins.rewards.drawdown_penalty:DrawdownPenalty")


@hookimpl
def register_brackets(register: Register) -> None:
    """Register where stop and target stand."""
    register("fixed", "mnqplugins.brackets.fixed:Fixed")
    register("atr", "mnqplugins.brackets.atr:Atr")
    register("none", "mnqplugins.brackets.none:Unprotected")


@hookimpl
def register_sizers(register: Register) -> None:
    """Register how many contracts an entry takes."""
    register("fixed", "mnqplugins.sizers.fixed:Fixed")
    register("fixed-fractional", "mnqplugins.sizers.fixed_fractional:FixedFractional")
    register("kelly", "mnqplugins.sizers.kelly:Kelly")
    register("volatility", "mnqplugins.sizers.volatility:Volatility")


@hookimpl
def register_extractors(register: Register) -> None:
    """Register what reads a window of features."""
    register("lstm", "mnqplugins.extractors.lstm:Lstm")
    register("gru", "mnqplugins.extractors.gru:Gru")
    register("attention", "mnqplugins.extractors.attention:Attention")


@hookimpl
def register_agents(register: Register) -> None:
    """Register what chooses actions."""
    register("flat", "mnqplugins.agents.flat:Flat")
    register("buy-and-hold", "mnqplugins.agents.buy_and_hold:BuyAndHold")
    register("random", "mnqplugins.agents.random:Random")
    register("sma-cross", "mnqplugins.agents.sma_cross:SmaCross")
    register("breakout", "mnqplugins.agents.breakout:Breakout")
    register("ppo", "mnqplugins.agents.ppo:Ppo")
    register("a2c", "mnqplugins.agents.a2c:A2c")


@hookimpl
def register_brokers(register: Register) -> None:
    """Register what executes orders."""
    register("simulated", "mnqplugins.brokers.simulated:Simulated")


@hookimpl
def register_executors(register: Register) -> None:
    """Register where independent pieces of work run."""
    register("serial", "mnqplugins.executors.serial:Serial")
    register("joblib", "mnqplugins.executors.joblib:Joblib")
