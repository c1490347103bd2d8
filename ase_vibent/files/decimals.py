"""Numbers as text, in compiled code: the shortest digits that are read back to the same number.

The algorithm is Schubfach (R. Giulietti, *The Schubfach way to render doubles*, 2020), as Python's
`repr` in its results.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ase_vibent.arrays import Array
from ase_vibent.compiled.jit import compiled, inlined

#: Bytes of the longest number, "-2.2250738585072014e-308".
LONGEST = 24
#: Powers of ten that are needed, as 128 bits from the first one on, rounded up.
LEAST_POWER, LARGEST_POWER = -292, 324
_U0, _U1, _U2, _U4, _U10, _U40 = (np.uint64(k) for k in (0, 1, 2, 4, 10, 40))
_HIDDEN, _EXPONENT = np.uint64(2**52), np.uint64(0x7FF)
_DIGIT, _POINT, _MINUS, _PLUS, _E = (np.uint8(ord(c)) for c in "0.-+e")
_NAN, _INF = (np.frombuffer(text, np.uint8) for text in (b"nan", b"inf"))


@cache
def powers_of_ten() -> Array:
    """Leading 128 bits of the powers of ten, high and low half, shape (n, 2), uint64."""
    rows = []
    for power in range(LEAST_POWER, LARGEST_POWER + 1):
        upper, lower = 10 ** max(power, 0), 10 ** max(-power, 0)
        shift = 127 - (upper.bit_length() - lower.bit_length())
        bits = -(-(upper << max(shift, 0)) // (lower << max(-shift, 0)))
        if bits < 2**127:
            bits = -(-(upper << max(shift + 1, 0)) // (lower << max(-shift - 1, 0)))
        rows.append((bits >> 64, bits & (2**64 - 1)))
    return np.array(rows, dtype=np.uint64)


@intrinsic
def product(typing_context, one, other):
    """High and low half of a product of two uint64."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        both = builder.mul(*(builder.zext(arg, wide) for arg in args))
        high = builder.trunc(builder.lshr(both, ir.Constant(wide, 64)), ir.IntType(64))
        return context.make_tuple(
            builder, sig.return_type, (high, builder.trunc(both, ir.IntType(64)))
        )

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), lower


@inlined
def rounded_to_odd(powers, k, number):
    """Upper bits of a power of ten times a number; the last one says whether there are others."""
    carried, _ = product(powers[k, 1], number)
    high, low = product(powers[k, 0], number)
    low += carried
    if low < carried:
        high += _U1
    return high | _U1 if low > _U1 else high


@inlined
def shortest_decimal(bits, powers):
    """Digits and exponent of ten of a positive finite number, from its bits."""
    fraction, exponent = bits & (_HIDDEN - _U1), np.int64((bits >> np.uint64(52)) & _EXPONENT)
    c, q = (fraction | _HIDDEN, exponent - 1075) if exponent else (fraction, np.int64(-1074))
    closer = fraction == _U0 and exponent > 1
    odd = c & _U1
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    h = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    row, four = -k - LEAST_POWER, _U4 * c
    low = rounded_to_odd(powers, row, (four - (_U1 if closer else _U2)) << h) + odd
    middle = rounded_to_odd(powers, row, four << h)
    high = rounded_to_odd(powers, row, (four + _U2) << h) - odd
    s = middle // _U4
    if s >= _U10:
        tens = s // _U10
        below, above = low <= _U40 * tens, _U40 * tens + _U40 <= high
        if below != above:
            return (tens + _U1 if above else tens), k + 1
    below, above = low <= _U4 * s, _U4 * s + _U4 <= high
    if below != above:
        return (s + _U1 if above else s), k
    half = _U4 * s + _U2
    up = middle > half or (middle == half and (s & _U1) == _U1)
    return (s + _U1 if up else s), k


@inlined
def write_digits(number, buffer, at):
    """Write a uint64; returns the place behind it."""
    stop, rest = at + 1, number // _U10
    while rest > _U0:
        stop, rest = stop + 1, rest // _U10
    for place in range(stop - 1, at - 1, -1):
        rest = number // _U10
        buffer[place] = _DIGIT + np.uint8(number - _U10 * rest)
        number = rest
    return stop


@inlined
def write_integer(number, buffer, at):
    """Write an int64; returns the place behind it."""
    if number < 0:
        buffer[at] = _MINUS
        at += 1
        return write_digits(_U0 - np.uint64(number), buffer, at)
    return write_digits(np.uint64(number), buffer, at)


@inlined
def write_bytes(text, buffer, at):
    """Write a text; returns the place behind it."""
    for k in range(len(text)):
        buffer[at + k] = text[k]
    return at + len(text)


@inlined
def write_scientific(digits, first, stop, exponent, buffer, at):
    """Write digits[first:stop] with a power of ten; returns the place behind it."""
    buffer[at] = digits[first]
    at += 1
    if stop > first + 1:
        buffer[at] = _POINT
        at = write_bytes(digits[first + 1 : stop], buffer, at + 1)
    buffer[at], buffer[at + 1] = _E, (_MINUS if exponent < 0 else _PLUS)
    at += 2
    if abs(exponent) < 10:
        buffer[at] = _DIGIT
        at += 1
    return write_digits(np.uint64(abs(exponent)), buffer, at)


@inlined
def write_zeros(count, buffer, at):
    """Write so many zeros; returns the place behind them."""
    for k in range(count):
        buffer[at + k] = _DIGIT
    return at + count


@inlined
def write_float(bits, powers, digits, buffer, at):
    """Write a float64, given its bits, as `repr` does; returns the place behind it.

    Parameters
    ----------
    bits : uint64
    powers : ndarray
        See `powers_of_ten`.
    digits : ndarray of uint8, shape (20,)
        Work array.
    buffer : ndarray of uint8
    at : int
    """
    size = bits & np.uint64(2**63 - 1)
    if size > np.uint64(0x7FF0000000000000):
        return write_bytes(_NAN, buffer, at)
    if size != bits:
        buffer[at] = _MINUS
        at += 1
    if size == np.uint64(0x7FF0000000000000):
        return write_bytes(_INF, buffer, at)
    number, power = (_U0, np.int64(0)) if size == _U0 else shortest_decimal(size, powers)
    stop = write_digits(number, digits, 0)
    point = stop + power  # digits before the point
    while stop > 1 and digits[stop - 1] == _DIGIT:
        stop -= 1
    if not -4 < point <= 16:
        return write_scientific(digits, 0, stop, point - 1, buffer, at)
    if point <= 0:
        at = write_zeros(1, buffer, at)
        buffer[at] = _POINT
        at = write_zeros(-point, buffer, at + 1)
        return write_bytes(digits[:stop], buffer, at)
    whole = min(point, stop)
    at = write_bytes(digits[:whole], buffer, at)
    at = write_zeros(point - whole, buffer, at)
    buffer[at] = _POINT
    at += 1
    return (
        write_zeros(1, buffer, at) if whole == stop else write_bytes(digits[whole:stop], buffer, at)
    )


@compiled
def write_rows(places, floats, integers, texts, lengths, powers, longest):
    """Rows of a table as text: columns apart by spaces, rows by line feeds.

    Parameters
    ----------
    places : ndarray of int64, shape (n_columns, 2)
        Of every column: 0, 1 or 2 for float, integer or text, and its column there.
    floats : ndarray of uint64, shape (n, n_floats)
        Bits of float64.
    integers : ndarray of int64, shape (n, n_integers)
        Texts by their numbers, too.
    texts : ndarray of uint8, shape (n_texts, length)
    lengths : ndarray of int64, shape (n_texts,)
    powers : ndarray
        See `powers_of_ten`.
    longest : int
        Bytes of a row, at most.

    Returns
    -------
    ndarray of uint8
    """
    n = max(len(floats), len(integers))
    buffer, digits, at = np.empty(n * longest, np.uint8), np.empty(20, np.uint8), 0
    for row in range(n):
        for column in range(len(places)):
            kind, own = places[column]
            if kind == 0:
                at = write_float(floats[row, own], powers, digits, buffer, at)
            elif kind == 1:
                at = write_integer(integers[row, own], buffer, at)
            else:
                text = integers[row, own]
                at = write_bytes(texts[text, : lengths[text]], buffer, at)
            buffer[at] = 32
            at += 1
        buffer[at - 1] = 10
    return buffer[:at]
