"""The books beside a market: given the kernel's fills they are the kernel's ledger, bar by bar."""

import numpy as np
import pytest

from mnqcore import rules
from mnqcore.api.port import Role
from mnqcore.api.values import ExitReason
from mnqcore.simulator.account import Account
from mnqcore.simulator.records import LEDGER, TRADE
from mnqcore.tape.records import NO_PRICE
from mnqcore.trading.books import Books, Fill
from tests.tapes import random_case, records, rulebook

KEPT = [name for name in LEDGER.names or () if name not in ("answer", "last", "breaks", "trades", "day", "done")]
HOUR = 3_600_000_000_000


def always(size):
    """Return a sizer that gives so many contracts."""
    return lambda entry: np.array([size])


def nobody(entry):
    """Is never asked."""
    raise AssertionError(entry)


class Market:
    """What a broker that keeps the kernel's fill rules would fill: written the slow obvious way."""

    def __init__(self, case):
        self.case = case
        self.held, self.stop, self.target = 0, None, None

    def fills(self, t, decision):
        """Return the fills of bar t, given what was decided at the close before."""
        case, slip = self.case, int(self.case.law["slippage"][0])
        bar, time = case.tape[t], t * HOUR
        found = []
        if decision.exit and self.held:
            side = -1 if self.held > 0 else 1
            price = int(case.orders[t]["carry_open"]) + side * slip
            found.append(Fill(ref="x", role=Role.EXIT, side=side, contracts=abs(self.held), price=price, time=time,
                              reason=decision.exit))  # fmt: skip
            self.held = 0
        if decision.contracts:
            self.held = decision.side * decision.contracts
            self.stop, self.target = decision.stop, decision.target
            found.append(Fill(ref="e", role=Role.ENTRY, side=decision.side, contracts=decision.contracts,
                              price=int(bar["open"]) + decision.side * slip, time=time, stop=decision.stop,
                              target=decision.target, risk=decision.risk))  # fmt: skip
        return found + self.protective(bar, slip, time + 1)

    def protective(self, bar, slip, time):
        if not self.held:
            return []
        side = 1 if self.held > 0 else -1
        against, favour = (bar["low"], bar["high"]) if side > 0 else (bar["high"], bar["low"])
        opened = int(bar["open"])
        if self.stop is not None and side * (against - self.stop) <= 0:
            price, role, reason = rules.stop_fill(side, opened, self.stop, slip), Role.STOP, ExitReason.STOP
        elif self.target is not None and side * (favour - self.target) >= 0:
            price, role, reason = rules.target_fill(side, opened, self.target), Role.TARGET, ExitReason.TARGET
        else:
            return []
        contracts, self.held = abs(self.held), 0
        return [Fill(ref="p", role=role, side=-side, contracts=contracts, price=price, time=time, reason=reason)]


def by_kernel(case, upto):
    account = Account(case.tape, case.orders, case.law, initial_balance=case.dollars)
    account.ledger["last"] = upto
    account.run(case.actions, sizes=case.sizes)
    return account


def usable(case):
    """Leave out what only a tape can do: a contract that has no further bar."""
    return not (case.orders["carry_open"] == NO_PRICE).any()


@pytest.mark.parametrize("seed", range(300))
def test_the_kernels_fills_make_the_kernels_books(seed):
    case = random_case(seed)
    if not usable(case):
        case.orders["carry_open"] = case.tape["open"]
    sizes = iter(())
    books = Books(case.law, case.dollars, size_of=lambda entry: np.array([next(sizes)]), lookback=50,
                  day=int(case.tape["day"][0]))  # fmt: skip
    market = Market(case)
    steps = Account(case.tape, case.orders, case.law, initial_balance=case.dollars)
    for t in range(len(case.tape) - 1):
        sizes = iter([int(case.sizes[t])])  # type: ignore[list-item]
        now, order, following = (
            rows[at : at + 1] for rows, at in ((case.tape, t), (case.orders, t), (case.tape, t + 1))
        )
        decision = books.decide(now, order, following, int(case.actions[t]))
        books.pending += market.fills(t + 1, decision)
        books.close(following, (t + 2) * HOUR)
        steps.step(case.actions[t : t + 1], always(int(case.sizes[t])))
        last = t + 1 == len(case.tape) - 1
        if last or steps.ledger["done"][0]:
            books.finish(following)
        assert {name: int(steps.ledger[name][0]) for name in KEPT} == {
            name: int(books.ledger[name][0]) for name in KEPT
        }
        if steps.ledger["done"][0]:
            break

    whole = by_kernel(case, len(case.tape) - 1)
    fields = [name for name in TRADE.names or () if name != "lane"]
    expected = [[int(row[name]) for name in fields] for row in whole.trades[0]]
    assert [[row[name] for name in fields] for row in books.rows] == expected
    assert books.denied[:, 1:].tolist() == whole.denied[:, 1:].tolist()


def test_state_and_restore_are_each_others_inverse():
    case = random_case(7)
    books = Books(case.law, case.dollars, size_of=lambda entry: np.array([1]), lookback=50, day=0)
    books.ledger["cash"], books.ledger["position"] = 123, -4
    other = Books(case.law, case.dollars, size_of=lambda entry: np.array([1]), lookback=50, day=0)
    other.restore(books.state(), [])
    assert other.state() == books.state()


def one_bar(*prices):
    return records([prices])[0]


def fill(side, contracts, price, time=0, role=Role.ENTRY, reason=0):
    return Fill(ref=f"{role}{price}", role=role, side=side, contracts=contracts, price=price, time=time, reason=reason)


def test_an_entry_filled_at_two_prices_loses_no_money():
    books = Books(rulebook(per_contract=620_000, max_position=3), 10_000.0, size_of=nobody, lookback=5, day=0)
    books.pending += [fill(1, 2, 1000), fill(1, 1, 1001)]
    books.close(one_bar(1000, 1010, 990, 1005), 10)

    # 2 x 5 ticks + 1 x 4 ticks = 14 ticks x $0.50 = $7.00, less 3 x $0.62
    assert books.position == 3
    assert int(books.ledger["equity"][0]) == 10_000_000_000 + 7_000_000 - 1_860_000

    books.pending += [fill(-1, 3, 1010, time=20, role=Role.EXIT, reason=1)]
    (row,) = books.close(one_bar(1010, 1012, 1008, 1010), 30)
    # 2 x 10 + 1 x 9 = 29 ticks = $14.50, less 6 x $0.62
    assert row["gross"] - row["commission"] == 14_500_000 - 3_720_000
    assert int(books.ledger["equity"][0]) == 10_000_000_000 + 14_500_000 - 3_720_000


def test_an_exit_in_two_parts_is_two_round_trips():
    books = Books(rulebook(per_contract=620_000, max_position=3), 10_000.0, size_of=nobody, lookback=5, day=0)
    books.pending += [fill(-1, 3, 1000)]
    books.close(one_bar(1000, 1010, 990, 1000), 10)
    books.pending += [fill(1, 1, 990, time=11, role=Role.EXIT, reason=1)]
    (first,) = books.close(one_bar(995, 1000, 985, 990), 20)
    books.pending += [fill(1, 2, 1005, time=21, role=Role.STOP, reason=2)]
    (second,) = books.close(one_bar(990, 1006, 990, 1000), 30)

    assert (first["contracts"], first["gross"], first["commission"]) == (1, 5_000_000, 1_240_000)
    assert (second["contracts"], second["gross"], second["commission"]) == (2, -5_000_000, 2_480_000)
    assert int(books.ledger["equity"][0]) == 10_000_000_000 - 3_720_000
    assert books.position == 0


def test_two_exits_of_one_position_flip_it_and_the_books_say_so():
    books = Books(rulebook(), 10_000.0, size_of=nobody, lookback=5, day=0)
    books.pending += [fill(1, 1, 1000)]
    books.close(one_bar(1000, 1010, 990, 1000), 10)
    books.pending += [
        fill(-1, 1, 990, time=11, role=Role.STOP, reason=2),
        fill(-1, 1, 991, time=12, role=Role.EXIT, reason=1),
    ]
    books.close(one_bar(995, 1000, 985, 990), 20)

    assert books.position == -1
    assert int(books.ledger["entry_price"][0]) == 991


def test_a_fee_that_was_reckoned_too_low_is_corrected():
    books = Books(rulebook(per_contract=620_000), 10_000.0, size_of=nobody, lookback=5, day=0)
    books.pending += [fill(1, 1, 1000)]
    books.close(one_bar(1000, 1010, 990, 1000), 10)
    books.correct(100_000, opening=True)
    assert int(books.ledger["equity"][0]) == 10_000_000_000 - 720_000

    books.pending += [fill(-1, 1, 1000, time=11, role=Role.EXIT, reason=1)]
    (row,) = books.close(one_bar(1000, 1000, 1000, 1000), 20)
    assert row["commission"] == 1_340_000
    assert int(books.ledger["equity"][0]) == 10_000_000_000 - 1_340_000
