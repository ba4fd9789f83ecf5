"""Arrays of records for compiled code, by address: handing one over costs 0.1 us, and a step takes ten of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core.cgutils import voidptr_t
from numba.extending import intrinsic
from numba.np import arrayobj

if TYPE_CHECKING:
    from numpy.typing import NDArray

_arrays: Any = arrayobj  # numba says nothing of types here

_TO_READ_SOON = (0, 3, 1)
"""What llvm.prefetch calls: read, keep in all caches, data."""


def by_address(*arrays: NDArray[Any]) -> NDArray[np.int64]:
    """Return (address, length) of each array, int64 (arrays, 2); whoever keeps it must keep the arrays, too.

    Raises:
        TypeError: an array does not lie in one piece.
    """
    for array in arrays:
        if not array.flags.c_contiguous:
            raise TypeError(f"an array of {array.dtype} does not lie in one piece")
    return np.array([(array.ctypes.data, len(array)) for array in arrays], np.int64)


def array_at(kind: Any, width: int = 0) -> Any:
    """Return what turns a row of `by_address` into an array of a dtype in compiled code, (n,) or (n, width)."""
    found = np.dtype(kind)
    array = types.Array(from_dtype(found), 2 if width else 1, "C")
    behind = [width] if width else []
    steps = [width * found.itemsize, found.itemsize] if width else [found.itemsize]

    @intrinsic
    def at(_typing: Any, address: Any, length: Any) -> Any:
        def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            def numbers(values: list[int]) -> list[Any]:
                return [context.get_constant(types.intp, value) for value in values]

            made = _arrays.make_array(array)(context, builder)
            _arrays.populate_array(
                made,
                data=builder.inttoptr(arguments[0], made.data.type),
                shape=[arguments[1], *numbers(behind)],
                strides=numbers(steps),
                itemsize=numbers([found.itemsize])[0],
                meminfo=None,
            )
            return made._getvalue()

        return array(address, length), code

    return at


def _fetch_ahead(_typing: Any, records: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = _arrays.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(made.data, [arguments[1]]), voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [voidptr_t, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [voidptr_t], kind)
        builder.call(fetch, [place, *(ir.Constant(number, value) for value in _TO_READ_SOON)])
        return context.get_dummy_value()

    return types.void(records, index), code


fetch_ahead: Any = intrinsic(_fetch_ahead)
"""fetch_ahead(records, index): have the processor fetch a record from memory, and go on; it need not exist."""
