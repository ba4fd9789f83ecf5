"""A slow, obvious simulator in plain Python, written from the rules as they are documented and not from the kernel.

Bars are dictionaries with the fields of BAR and ORDER, rules one with those of RULES, money is whole micro-units and
prices whole ticks. Nothing is clever: every bar is looked at, every quantity is a Python number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mnqcore.api.values import Action, ExitReason
from mnqcore.rules import OFF, Denial
from mnqcore.tape.records import NO_PRICE


@dataclass
class Position:
    """A position that is open; the fees and slippage of its entry are kept until it is closed."""

    side: int
    contracts: int
    entry_price: int
    entry_bar: int
    fee: int
    stop: int | None
    target: int | None
    risk: int
    mae: int = 0  # ticks a contract
    mfe: int = 0


@dataclass
class Happened:
    """What happened between two closes."""

    action: int = 0
    denied: int = 0
    opened: bool = False
    reasons: list[int] = field(default_factory=list)
    contracts: int = 0
    sides: int = 0
    realised: int = 0
    commission: int = 0
    mae: int = 0
    mfe: int = 0
    risk: int = 0


class Reference:
    """One account on one tape.

    `trades`: a dictionary a round trip with the fields of TRADE but `lane`. `equity`: bar -> micro-units at its close.
    `denied`: Denial -> entries refused. `steps`: a dictionary a step with the fields of `Step`. `asked`: what the
    sizer was told, in order.
    """

    def __init__(self, bars, rules, initial, first=0, last=None):
        self.bars, self.rules, self.initial = bars, rules, initial
        self.bar, self.last = first, len(bars) - 1 if last is None else last
        self.cash = self.peak = initial
        self.equity = {first: initial}
        self.position: Any = None  # a Position, or None when flat
        self.trades, self.steps, self.asked = [], [], []
        self.denied = dict.fromkeys(Denial, 0)
        self.counts = {"cut": 0, "idle": 0, "latched_days": 0, "gap_stops": 0, "worst_gap": 0, "margin_peak": 0}
        self.day_start_equity = {bars[first]["day"]: initial}
        self.latched_days = set()
        self.entries_of_day = {}
        self.last_stop = None
        self.max_loss_breached = self.done = False

    def run(self, actions, sizes):
        """Decide at every close but the last; `sizes` is a list by bar, or a function that is told the entry."""
        while not self.done and self.bar < self.last:
            size = sizes if callable(sizes) else (lambda entry, bar=self.bar: sizes[bar])
            self.step(actions[self.bar], size)

    def step(self, action, size_of):
        """From the close of bar t to the close of bar t + 1."""
        t, before, position_before = self.bar, self.equity[self.bar], self.signed()
        self.now = Happened(action=action)
        forced = self.forced_reason(t) if self.position else 0
        wanted = self.wanted_side(action)

        contracts = 0
        if wanted:
            contracts = self.size_entry(t, wanted, size_of)
        elif action != Action.HOLD and not forced and not (action == Action.CLOSE and self.position):
            self.counts["idle"] += 1

        leaves = self.position and (action == Action.CLOSE or wanted == -self.position.side)
        if forced:
            self.leave_at_next_open(t, forced)
        elif leaves:
            self.leave_at_next_open(t, ExitReason.SIGNAL)
        if contracts:
            self.enter_at_next_open(t, wanted, contracts)
        self.bar = t + 1
        if self.position:
            self.meet_stop_and_target()
        self.mark()
        if self.bar == self.last and self.position:
            self.book_end_of_data(self.bar)
            self.equity[self.bar] = self.cash
            self.judge_losses()
        self.done = self.bar == self.last or (self.max_loss_breached and self.position is None)
        self.report(before, position_before)

    # The decision.

    def signed(self):
        return self.position.side * self.position.contracts if self.position else 0

    def today(self):
        return self.bars[self.bar]["day"]

    def wanted_side(self, action):
        """The side that the action wants to open: BUY while long and SELL while short want nothing new."""
        held = self.position.side if self.position else 0
        if action == Action.BUY and held != 1:
            return 1
        if action == Action.SELL and held != -1:
            return -1
        return 0

    def forced_reason(self, t):
        following = self.bars[t + 1]
        if self.max_loss_breached:
            return ExitReason.MAX_LOSS
        if self.today() in self.latched_days:
            return ExitReason.DAILY_LOSS
        if following["missed"]:
            return ExitReason.SESSION_MISSED
        return following["flat"]  # 0, 4 = session, 6 = roll: the numbers of ExitReason

    def refusal(self, t, most):
        """Why an entry decided at close t is refused before its size is asked for, in order of weight."""
        now, following, rules = self.bars[t], self.bars[t + 1], self.rules
        if self.max_loss_breached:
            return Denial.MAX_LOSS
        if self.today() in self.latched_days:
            return Denial.DAILY_LOSS
        if following["rolled"] or following["flat"] == ExitReason.ROLL:
            return Denial.ROLL
        if following["flat"] == ExitReason.SESSION or following["missed"] or now["late"] == 2:
            return Denial.SESSION
        if now["late"] == 1:
            return Denial.NO_ENTRY_AFTER
        if rules["max_trades_per_day"] != OFF and self.entries_of_day.get(now["day"], 0) >= rules["max_trades_per_day"]:
            return Denial.MAX_TRADES
        if self.last_stop is not None and t <= self.last_stop + rules["cooldown_bars"] - 1:
            return Denial.COOLDOWN
        if now["stop"] == -2:
            return Denial.FEED
        if now["stop"] == -1 or now["sizer_signal"] != now["sizer_signal"]:
            return Denial.WARMUP
        if most == 0:
            return Denial.MARGIN
        return Denial.NONE

    def size_entry(self, t, side, size_of):
        """Return the contracts of an entry, 0 if it is refused."""
        rules, close = self.rules, self.bars[t]["close"]
        equity = self.equity[t]
        if self.position:  # a reversal: its closing leg, at the close
            equity -= self.commission(self.position.contracts, close)
        carried = int(equity * rules["margin_share"] / rules["margin"]) if equity > 0 else 0
        most = min(rules["max_position"], carried)
        refused = self.refusal(t, most)
        if refused == Denial.NONE:
            size = size_of(self.entry(t, side, equity, most))
            if size == 0:
                refused = Denial.SIZED_TO_0
        if refused != Denial.NONE:
            self.denied[refused] += 1
            self.now.denied = refused
            return 0
        if size > most:
            self.counts["cut"] += 1
        return min(size, most)

    def entry(self, t, side, equity, most):
        """What a sizer is told, in dollars and prices."""
        bar, rules = self.bars[t], self.rules
        nets = [trade["gross"] - trade["commission"] for trade in self.trades]
        won, lost = [net for net in nets if net > 0], [-net for net in nets if net < 0]
        told = {
            "side": side,
            "price": bar["close"] * rules["tick_size"],
            "stop_distance": bar["stop"] * rules["tick_size"],
            "stop_ticks": bar["stop"],
            "tick_value": rules["tick_micros"] / 1e6,
            "point_value": rules["tick_micros"] / 1e6 / rules["tick_size"],
            "equity": equity / 1e6,
            "wins": len(won),
            "losses": len(lost),
            "average_win": sum(won) / 1e6 / len(won) if won else 0.0,
            "average_loss": sum(lost) / 1e6 / len(lost) if lost else 0.0,
            "signal": bar["sizer_signal"],
            "max_contracts": most,
        }
        self.asked.append(told)
        return told

    # Fills.

    def commission(self, contracts, price):
        rules = self.rules
        if rules["percent"] > 0:
            share = round(contracts * price * rules["tick_micros"] * rules["percent"] / 100)
            return contracts * rules["per_contract"] + max(rules["minimum"], share)
        return contracts * rules["per_contract"]

    def leave_at_next_open(self, t, reason):
        side, carried = self.position.side, self.bars[t + 1]["carry_open"]
        if carried == NO_PRICE:
            self.book_end_of_data(t)
        else:
            price = carried - side * self.rules["slippage"]
            self.close(t + 1, price, reason, held=t + 1 - self.position.entry_bar, slipped=self.rules["slippage"])

    def book_end_of_data(self, bar):
        price = self.bars[bar]["close"] - self.position.side * self.rules["slippage"]
        held = bar + 1 - self.position.entry_bar
        self.close(bar, price, ExitReason.END_OF_DATA, held=held, slipped=self.rules["slippage"])

    def enter_at_next_open(self, t, side, contracts):
        bar = self.bars[t]
        price = self.bars[t + 1]["open"] + side * self.rules["slippage"]
        fee = self.commission(contracts, price)
        self.position = Position(
            side=side,
            contracts=contracts,
            entry_price=price,
            entry_bar=t + 1,
            fee=fee,
            stop=bar["close"] - side * bar["stop"] if bar["stop"] > 0 else None,
            target=bar["close"] + side * bar["target"] if bar["target"] > 0 else None,
            risk=bar["stop"] * contracts * self.rules["tick_micros"],
        )
        self.cash -= fee
        self.entries_of_day[bar["day"]] = self.entries_of_day.get(bar["day"], 0) + 1
        self.counts["margin_peak"] = max(self.counts["margin_peak"], contracts * self.rules["margin"])
        self.now.opened = True
        self.now.sides += 1
        self.now.commission += fee

    def meet_stop_and_target(self):
        bar, held = self.bars[self.bar], self.position
        side, slippage = held.side, self.rules["slippage"]
        adverse, favourable = (bar["low"], bar["high"]) if side > 0 else (bar["high"], bar["low"])
        bars_held = self.bar + 1 - held.entry_bar
        if held.stop is not None and side * adverse <= side * held.stop:
            opened_beyond = side * (held.stop - bar["open"])
            price = held.stop
            if opened_beyond > 0:
                price = bar["open"]
                self.counts["gap_stops"] += 1
                self.counts["worst_gap"] = max(self.counts["worst_gap"], opened_beyond)
            self.last_stop = self.bar
            self.close(self.bar, price - side * slippage, ExitReason.STOP, held=bars_held, slipped=slippage)
            return
        held.mae = max(held.mae, side * (held.entry_price - adverse))
        if held.target is not None and side * favourable >= side * held.target:
            price = bar["open"] if side * bar["open"] > side * held.target else held.target
            self.close(self.bar, price, ExitReason.TARGET, held=bars_held, slipped=0)
            return
        held.mfe = max(held.mfe, side * (favourable - held.entry_price))

    def close(self, bar, price, reason, held, slipped):
        position, tick = self.position, self.rules["tick_micros"]
        contracts, moved = position.contracts, position.side * (price - position.entry_price)
        mae, mfe = max(position.mae, -moved), max(position.mfe, moved)
        fee = self.commission(contracts, price)
        trade = {
            "entry_bar": position.entry_bar,
            "exit_bar": bar,
            "side": position.side,
            "contracts": contracts,
            "entry_price": position.entry_price,
            "exit_price": price,
            "reason": int(reason),
            "gross": moved * contracts * tick,
            "commission": position.fee + fee,
            "exit_commission": fee,
            "slippage": (self.rules["slippage"] + slipped) * contracts * tick,
            "bars_held": held,
            "mae": mae * contracts * tick,
            "mfe": mfe * contracts * tick,
            "risk": position.risk,
        }
        self.trades.append(trade)
        self.cash += trade["gross"] - fee
        self.position = None
        self.now.reasons.append(int(reason))
        self.now.contracts += contracts
        self.now.sides += 1
        self.now.realised += trade["gross"] - trade["commission"]
        self.now.commission += fee
        self.now.mae += trade["mae"]
        self.now.mfe += trade["mfe"]
        self.now.risk += trade["risk"]

    # The close.

    def unrealised(self):
        if not self.position:
            return 0
        moved = self.bars[self.bar]["close"] - self.position.entry_price
        return self.signed() * moved * self.rules["tick_micros"]

    def mark(self):
        previous = self.equity[self.bar - 1]
        self.day_start_equity.setdefault(self.today(), previous)
        self.equity[self.bar] = self.cash + self.unrealised()
        self.peak = max(self.peak, self.equity[self.bar])
        self.judge_losses()

    def judge_losses(self):
        equity, rules, day = self.equity[self.bar], self.rules, self.today()
        if rules["max_daily_loss"] != OFF and equity <= self.day_start_equity[day] - rules["max_daily_loss"]:
            self.latched_days.add(day)
        if equity <= 0 or (rules["max_loss"] != OFF and equity <= self.peak - rules["max_loss"]):
            self.max_loss_breached = True
        self.counts["latched_days"] = len(self.latched_days)

    def report(self, before, position_before):
        now, bar, rules = self.now, self.bars[self.bar], self.rules
        held = self.position
        reason = now.reasons[-1] if now.reasons else 0
        risk = now.risk if now.reasons else (held.risk if held else 0)
        worth = held.contracts * rules["tick_micros"] if held else 0
        moved = bar["close"] - self.bars[self.bar - 1]["close"]
        self.steps.append(
            {
                "action": now.action,
                "denied": now.denied != 0,
                "opened": now.opened,
                "closed": bool(now.reasons),
                "exit_reason": reason,
                "previous_position": position_before,
                "position": self.signed(),
                "contracts": now.contracts,
                "sides": now.sides,
                "bars_held": self.bar + 1 - held.entry_bar if held else 0,
                "realised": now.realised / 1e6,
                "commission": now.commission / 1e6,
                "equity": self.equity[self.bar] / 1e6,
                "equity_change": (self.equity[self.bar] - before) / 1e6,
                "peak_equity": self.peak / 1e6,
                "unrealised": self.unrealised() / 1e6,
                "initial_balance": self.initial / 1e6,
                "closed_mae": now.mae / 1e6,
                "closed_mfe": now.mfe / 1e6,
                "open_mae": held.mae * worth / 1e6 if held else 0.0,
                "open_mfe": held.mfe * worth / 1e6 if held else 0.0,
                "entry_risk": risk / 1e6 if risk else 1.0,
                "price_change": 0.0 if bar["rolled"] else moved * rules["tick_size"],
                "bars_to_flat": bar["bars_to_flat"],
                "bar": self.bar,
                "time": bar["time"],
                "signal": bar["reward_signal"],
                "stopped": reason == ExitReason.STOP,
                "forced": reason >= ExitReason.SESSION,
                "done": self.done,
            }
        )
