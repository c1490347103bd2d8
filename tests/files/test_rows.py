"""Numbers as text: the digits of `repr`, whatever the number."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ase_vibent.files import rows
from ase_vibent.files.rows import format_rows

ANY_BITS = st.integers(0, 2**64 - 1)


def text(*columns):
    return b"".join(format_rows(columns)).decode()


@settings(deadline=None)
@given(st.lists(ANY_BITS, min_size=1, max_size=200))
def test_floats_are_those_of_repr(bits):
    numbers = np.array(bits, dtype=np.uint64).view(np.float64)
    assert text(numbers).split() == [repr(number) for number in numbers.tolist()]


@settings(deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=100), st.integers(0, 17))
def test_rounded_numbers_are_those_of_repr(numbers, digits):
    """Short ones, and those beside a power of two or ten, which random bits seldom give."""
    chosen = [round(number, digits) for number in numbers]
    beside = np.concatenate([np.nextafter(chosen, to) for to in (-np.inf, np.inf)]).tolist()
    for number in (*chosen, *beside):
        assert text(np.array([number])) == f"{number!r}\n"


def test_powers_and_their_neighbours():
    two = 2.0 ** np.arange(-1074, 1024)
    ten = np.array([float(f"1e{k}") for k in range(-323, 309)])
    powers = np.concatenate([two, ten, [0.0, -0.0, np.inf, -np.inf, np.nan]])
    numbers = np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(-powers, -np.inf)])
    assert text(numbers).split() == [repr(number) for number in numbers.tolist()]


@settings(deadline=None)
@given(arrays(np.int64, st.integers(1, 50)), arrays(np.uint64, 3))
@example(np.array([-(2**63), 2**63 - 1, 0, -1, 10]), np.array([2**64 - 1, 0, 2**63], np.uint64))
def test_integers(signed, unsigned):
    assert text(signed).split() == [str(k) for k in signed.tolist()]
    assert text(unsigned).split() == [str(k) for k in unsigned.tolist()]


def test_columns_stand_beside_each_other(monkeypatch):
    monkeypatch.setattr(rows, "PART", 2)
    numbers, words = np.array([0.5, -3.0, 1e-7]), np.array(["a", "längst", "b"])
    one_of = (["H", "He"], np.array([1, 0, 1]))
    expected = "He 0.5 a T 7\nH -3.0 längst F 8\nHe 1e-07 b T 9\n"
    assert text(one_of, numbers, words, numbers > -1, np.array([7, 8, 9])) == expected
    assert text(numbers.astype(np.float32)) == "0.5\n-3.0\n1.0000000116860974e-07\n"
    assert text(words) == "a\nlängst\nb\n"
