"""Explicit vectors of float64 in compiled functions: `a + x * y` on several numbers at once.

Numba leaves LLVM's straight-line vectoriser off, so short fixed loops compile to scalar
code; a vector type of its own says what is meant. Widths that a processor lacks are split
or joined by LLVM. Products and sums may be fused, nothing else is reordered.

Offsets count elements of a C-contiguous array from its first one, whatever its shape.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

#: Neighbours of one atom that are worked on together: the width of AVX2's registers.
WIDTH = 4
#: Atoms whose products are worked on together.
LANES = 8


class _Vector(types.Type):
    """Numba type of a vector of float64."""

    def __init__(self, width: int):
        self.width = width
        super().__init__(name=f"float64x{width}")


_NARROW, _WIDE = _Vector(WIDTH), _Vector(LANES)


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: _Vector):
        super().__init__(manager, vector, _llvm(vector))


def _llvm(vector: _Vector) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType(), vector.width)


def _register_operator(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    @infer_global(symbol)
    class _Template(ConcreteTemplate):
        cases = [signature(v, v, v) for v in (_NARROW, _WIDE)]  # noqa: RUF012

    for vector in (_NARROW, _WIDE):

        @lower_builtin(symbol, vector, vector)
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args, flags=("contract", "nsz"))


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.iadd, "fadd"),
    (operator.sub, "fsub"),
    (operator.isub, "fsub"),
    (operator.mul, "fmul"),
    (operator.imul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register_operator(_symbol, _instruction)


def _pointer(context: Any, builder: Any, array: Any, value: Any, offset: Any, target: Any) -> Any:
    if array.layout != "C":
        raise TypeError(f"array: expected a C-contiguous one, got {array}")
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [offset]), target.as_pointer())


def _broadcast(builder: Any, number: Any, vector: _Vector) -> Any:
    empty = ir.Constant(_llvm(vector), ir.Undefined)
    first = builder.insert_element(empty, number, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, first, empty, [0] * vector.width)


def _shuffle(builder: Any, one: Any, other: Any, picks: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
    return builder.shuffle_vector(one, other, mask)


def _loader(vector: _Vector) -> Any:
    @intrinsic
    def load(typing_context, array, offset):
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = _pointer(context, builder, sig.args[0], args[0], args[1], _llvm(vector))
            return builder.load(pointer, align=8)

        return vector(array, types.intp), lower

    return load


def _splatter(vector: _Vector) -> Any:
    @intrinsic
    def splat(typing_context, number):
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _broadcast(builder, args[0], vector)

        return vector(types.float64), lower

    return splat


def _repeater(vector: _Vector) -> Any:
    @intrinsic
    def repeat(typing_context, array, offset):
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = _pointer(context, builder, sig.args[0], args[0], args[1], ir.DoubleType())
            return _broadcast(builder, builder.load(pointer), vector)

        return vector(array, types.intp), lower

    return repeat


#: Vector of WIDTH numbers from an array and an offset.
load = _loader(_NARROW)
#: Vector of LANES numbers from an array and an offset.
load_lanes = _loader(_WIDE)
#: Vector of WIDTH equal numbers.
splat = _splatter(_NARROW)
#: Vector of LANES equal numbers.
splat_lanes = _splatter(_WIDE)
#: Vector of WIDTH times the same number of an array.
repeat = _repeater(_NARROW)
#: Vector of LANES times the same number of an array.
repeat_lanes = _repeater(_WIDE)


@intrinsic
def load_weight(typing_context, array, index):
    """Weights of LANES atoms: the same for all (1-D array), or a row of a 2-D array."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, offset = args
        if sig.args[0].ndim == 1:
            pointer = _pointer(context, builder, sig.args[0], value, offset, ir.DoubleType())
            return _broadcast(builder, builder.load(pointer), _WIDE)
        offset = builder.mul(offset, offset.type(LANES))
        pointer = _pointer(context, builder, sig.args[0], value, offset, _llvm(_WIDE))
        return builder.load(pointer, align=8)

    return _WIDE(array, types.intp), lower


@intrinsic
def store(typing_context, array, offset, vector):
    """Write a vector into an array."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, offset, vector = args
        pointer = _pointer(context, builder, sig.args[0], array, offset, vector.type)
        builder.store(vector, pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), lower


@intrinsic
def root(typing_context, vector):
    """Square root of every number."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        llvm = _llvm(sig.args[0])
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(llvm, [llvm]), f"llvm.sqrt.v{sig.args[0].width}f64"
        )
        return builder.call(function, args)

    return vector(vector), lower


@intrinsic
def sums(typing_context, a, b, c, d):
    """Vector of the sums over each of four vectors of WIDTH numbers."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def fold(one: Any, other: Any, low: list[int], high: list[int]) -> Any:
            return builder.fadd(
                _shuffle(builder, one, other, low), _shuffle(builder, one, other, high)
            )

        a, b, c, d = args
        first = fold(a, b, [0, 4, 2, 6], [1, 5, 3, 7])
        second = fold(c, d, [0, 4, 2, 6], [1, 5, 3, 7])
        return fold(first, second, [0, 1, 4, 5], [2, 3, 6, 7])

    return _NARROW(a, b, c, d), lower


@intrinsic
def below(typing_context, one, other):
    """Bits that say in which places one vector is less than the other."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        less = builder.fcmp_ordered("<", *args)
        bits = builder.bitcast(less, ir.IntType(sig.args[0].width))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(one, other), lower


@intrinsic
def transpose(typing_context, a, b, c, d):
    """Columns of the matrix whose rows are four vectors of WIDTH numbers."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pick(one: Any, other: Any, picks: list[int]) -> Any:
            return _shuffle(builder, one, other, picks)

        a, b, c, d = args
        even, odd = [0, 4, 2, 6], [1, 5, 3, 7]
        low, high = [0, 1, 4, 5], [2, 3, 6, 7]
        ab, cd = pick(a, b, even), pick(c, d, even)
        ab_odd, cd_odd = pick(a, b, odd), pick(c, d, odd)
        columns = (
            pick(ab, cd, low),
            pick(ab_odd, cd_odd, low),
            pick(ab, cd, high),
            pick(ab_odd, cd_odd, high),
        )
        return context.make_tuple(builder, sig.return_type, columns)

    return types.UniTuple(_NARROW, WIDTH)(a, b, c, d), lower
