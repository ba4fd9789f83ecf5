"""The simulated broker's exchange fills what the simulator fills: each trade of random accounts, to the tick."""

import itertools

import pytest

from mnqcore.api.port import BracketOrder, Order, Role
from mnqcore.simulator import Account as Simulator
from mnqcore.tape.records import NO_PRICE
from mnqplugins.brokers._account import Account, Terms
from mnqplugins.brokers._exchange import Exchange, Quote, Slot
from tests.reference import Reference
from tests.tapes import random_case

BAR = 300_000_000_000
FIELDS = ("side", "contracts", "entry_price", "exit_price", "entry_bar", "exit_bar", "commission", "gross")
TERMS = Terms(account="SIM", equity=10_000_000_000, tick_micros=500_000, slippage=1, per_contract=620_000)


def terms_of(case):
    law = case.rules
    return Terms(
        account="SIM",
        equity=case.initial,
        tick_micros=law["tick_micros"],
        slippage=law["slippage"],
        per_contract=law["per_contract"],
        percent=law["percent"],
        minimum=law["minimum"],
    )


def slots_of(case):
    """The bars of a case as slots: a contract a roll, a session wherever a position must have been closed before."""
    names = [f"C{number}" for number in itertools.accumulate(bar["rolled"] for bar in case.bars)]
    sessions = itertools.accumulate(bar["missed"] for bar in case.bars)
    for number, (bar, session) in enumerate(zip(case.bars, sessions, strict=True)):
        quote = Quote(bar["open"], bar["high"], bar["low"], bar["close"])
        price = None if bar["carry_open"] == NO_PRICE else bar["carry_open"]
        yield Slot(
            number=number,
            start=number * BAR,
            close=(number + 1) * BAR,
            session=session,
            day=bar["day"],
            quotes={names[number]: quote},
            carried={names[number - 1]: price} if bar["rolled"] else {},
        )


class Driver(Reference):
    """The reference account, which also sends what it decides to an exchange, bar by bar."""

    def __init__(self, case):
        super().__init__(case.bars, case.rules, case.initial)
        self.slots = list(slots_of(case))
        self.exchange = Exchange(Account(terms_of(case)), {next(iter(s.quotes)): len(self.slots) for s in self.slots})
        self.count, self.bracket = 0, ("", "", 0)
        self.pass_bar(self.slots[0])

    def pass_bar(self, slot):
        self.exchange.open(slot)
        self.exchange.reach(slot)
        self.exchange.close(slot)

    def send(self, *orders):
        self.exchange.submit(BracketOrder(orders=orders), (self.bar + 1) * BAR, None)

    def leave_at_next_open(self, t, reason):
        self.exit()
        super().leave_at_next_open(t, reason)

    def exit(self):
        ref, contract, side = self.bracket
        order = {"contract": contract, "side": -side, "contracts": self.position.contracts}
        self.send(Order(ref=f"{ref}.x", role=Role.EXIT, group=ref, **order))

    def enter_at_next_open(self, t, side, contracts):
        super().enter_at_next_open(t, side, contracts)
        self.count += 1
        ref, contract = f"o{self.count}", next(iter(self.slots[t].quotes))
        self.bracket = ref, contract, side
        child = {"contract": contract, "contracts": contracts, "side": -side, "parent": ref, "group": ref}
        orders = [Order(ref=ref, role=Role.ENTRY, contract=contract, side=side, contracts=contracts)]
        for role, price in ((Role.STOP, self.position.stop), (Role.TARGET, self.position.target)):
            if price is not None:
                orders.append(Order(ref=f"{ref}.{role.value}", role=role, price=price, **child))
        self.send(*orders)

    def mark(self):
        self.pass_bar(self.slots[self.bar])
        super().mark()
        if self.bar == self.last and self.position:
            self.exchange.last_orders()
            self.exit()


def round_trips(executions, tick_micros):
    """Executions as the trades they make."""
    held = None
    for each in executions:
        if held is None:
            held = each
            continue
        assert (each.side, each.contracts, each.contract) == (-held.side, held.contracts, held.contract)
        yield {
            "side": held.side,
            "contracts": held.contracts,
            "entry_price": held.price,
            "exit_price": each.price,
            "entry_bar": held.time // BAR,
            "exit_bar": each.time // BAR,
            "commission": held.commission + each.commission,
            "gross": held.side * (each.price - held.price) * held.contracts * tick_micros,
        }
        held = None
    assert held is None


@pytest.mark.parametrize("seed", range(400))
def test_random_accounts_fill_as_in_the_simulator(seed):
    case = random_case(seed)
    if case.tape["low"].min() < 400:
        pytest.skip("prices near 0")
    simulator = Simulator(case.tape, case.orders, case.law, initial_balance=case.dollars)
    simulator.run(case.actions, sizes=case.sizes)
    driver = Driver(case)

    driver.run(case.actions.tolist(), case.sizes.tolist())

    found = list(round_trips(driver.exchange.account.executions(), case.rules["tick_micros"]))
    expected = [{name: int(row[name]) for name in FIELDS} for row in simulator.trades[0]]
    assert found == expected
    assert driver.exchange.account.equity == driver.equity[driver.bar]
