"""Recurrent networks over every window of a series: what the windows share is worked out once.

Each window starts with an empty memory, so they share only what their bars add to the first layer. The rest is cheaper
than torch's own loop since a step of all windows is one product and one pass over the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba  # noqa: TID253 - only `encode_series` imports this module
import numpy as np
import torch  # noqa: TID253

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 1024
"""Windows side by side: enough that a product of theirs is worth its call, few enough for the processor's cache."""
_HALF = np.float32(0.5)
_LIMIT = np.float32(7.90531110763549805)  # beyond it the hyperbolic tangent is 1 in float32
_ABOVE = tuple(
    np.float32(value)
    for value in (
        4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08,
        -8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16,
    )
)  # fmt: skip
_BELOW = tuple(
    np.float32(value)
    for value in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)
_ONE, _TWO, _THREE = (np.uint64(number) for number in (1, 2, 3))  # unsigned: no negative index to look out for


def outputs(memory: torch.nn.LSTM | torch.nn.GRU, rows: torch.Tensor, lookback: int) -> torch.Tensor:
    """Return what the last layer puts out after each window, (bars - lookback + 1, hidden), of rows (bars, features).

    The same as `memory` over the windows one by one, but for rounding; on the CPU, without gradients and dropout.
    """
    with torch.no_grad():
        first, *deeper = [_Layer(memory, number) for number in range(memory.num_layers)]
        added, count = first.added(rows), len(rows) - lookback + 1
        found = []
        for start in range(0, count, _BATCH):
            width = min(_BATCH, count - start)
            for layer in (first, *deeper):
                layer.empty(width)
            for step in range(start, start + lookback):
                held = first.move(added[step : step + width])
                for layer in deeper:
                    held = layer.move(layer.added(held))
            found.append(held)
        return torch.cat(found)


class _Layer:
    """One layer's weights, and what it remembers of each window."""

    def __init__(self, memory: torch.nn.LSTM | torch.nn.GRU, number: int) -> None:
        enter, again, bias, other = (weight.detach().cpu() for weight in memory.all_weights[number])
        self.lstm = isinstance(memory, torch.nn.LSTM)
        self.enter, self.again = enter.T.contiguous(), again.T.contiguous()
        early = len(other) if self.lstm else 2 * memory.hidden_size
        self.bias = bias.clone()
        self.bias[:early] += other[:early]
        self.late: NDArray[np.float32] = other[early:].numpy()  # of the candidate: it is added behind the reset gate

    def empty(self, width: int) -> None:
        hidden = len(self.again)
        self.held = torch.zeros(width, hidden)
        self.cell = np.zeros((width, hidden), np.float32)
        self.product = torch.zeros(width, self.again.shape[1])
        self.fresh = True

    def added(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, inputs, self.enter)

    def move(self, added: torch.Tensor) -> torch.Tensor:
        if not self.fresh:  # an empty memory adds nothing
            torch.mm(self.held, self.again, out=self.product)
        self.fresh = False
        if self.lstm:
            _lstm(added.numpy(), self.product.numpy(), self.cell, self.held.numpy())
        else:
            _gru(added.numpy(), self.product.numpy(), self.late, self.held.numpy())
        return self.held


def _compiled(function: Any) -> Any:
    """Compile on first call; the machine code is kept between processes where a folder can be written."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(error_model="numpy")(function)


@numba.njit(inline="always", error_model="numpy")
def _tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of a float32 within 1e-6, without a branch: the form of Eigen's `ptanh_float`."""
    x = min(max(x, -_LIMIT), _LIMIT)
    s = x * x
    above = _ABOVE[5] + s * _ABOVE[6]
    above = _ABOVE[3] + s * (_ABOVE[4] + s * above)
    above = _ABOVE[0] + s * (_ABOVE[1] + s * (_ABOVE[2] + s * above))
    return x * above / (_BELOW[0] + s * (_BELOW[1] + s * (_BELOW[2] + s * _BELOW[3])))


@numba.njit(inline="always", error_model="numpy")
def _sigmoid(x: Any) -> Any:
    return _HALF * _tanh(_HALF * x) + _HALF


@_compiled
def _lstm(x: Any, product: Any, cell: Any, held: Any) -> None:
    """Move the memory of each row by one bar; gates stand as torch has them: input, forget, candidate, output."""
    n = np.uint64(held.shape[1])
    for row in range(held.shape[0]):
        for column in range(n):
            j = np.uint64(column)
            enter = _sigmoid(x[row, j] + product[row, j])
            forget = _sigmoid(x[row, n + j] + product[row, n + j])
            candidate = _tanh(x[row, _TWO * n + j] + product[row, _TWO * n + j])
            leave = _sigmoid(x[row, _THREE * n + j] + product[row, _THREE * n + j])
            value = forget * cell[row, j] + enter * candidate
            cell[row, j] = value
            held[row, j] = leave * _tanh(value)


@_compiled
def _gru(x: Any, product: Any, late: Any, held: Any) -> None:
    """Move the memory of each row by one bar; gates stand as torch has them: reset, update, candidate."""
    n = np.uint64(held.shape[1])
    for row in range(held.shape[0]):
        for column in range(n):
            j = np.uint64(column)
            reset = _sigmoid(x[row, j] + product[row, j])
            update = _sigmoid(x[row, n + j] + product[row, n + j])
            candidate = _tanh(x[row, _TWO * n + j] + reset * (product[row, _TWO * n + j] + late[j]))
            held[row, j] = candidate + update * (held[row, j] - candidate)
