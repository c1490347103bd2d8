"""Numbers as text: whatever the number, it is read back, from as few digits as `repr` takes."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ase_vibent.files import rows
from ase_vibent.files.rows import format_rows

ANY_BITS = st.integers(0, 2**64 - 1)


def text(*columns):
    return b"".join(format_rows(columns)).decode()


def digits(number):
    return number.lower().partition("e")[0].replace(".", "").strip("-0")


def same_numbers(numbers):
    """Whether the text of floats is as short as that of `repr`, and says the same."""
    found = text(numbers).split()
    back = np.array([float(word) for word in found])
    np.testing.assert_array_equal(back, numbers)
    np.testing.assert_array_equal(np.signbit(back[back == 0]), np.signbit(numbers[numbers == 0]))
    assert [digits(word) for word in found] == [digits(repr(k)) for k in numbers.tolist()]
    return True


@settings(deadline=None)
@given(st.lists(ANY_BITS, min_size=1, max_size=200))
def test_floats(bits):
    assert same_numbers(np.array(bits, dtype=np.uint64).view(np.float64))


def test_powers_and_their_neighbours():
    two = 2.0 ** np.arange(-1074, 1024)
    ten = np.array([float(f"1e{k}") for k in range(-323, 309)])
    powers = np.concatenate([two, ten, [0.0, -0.0]])
    numbers = np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(-powers, -np.inf)])
    assert same_numbers(numbers[np.isfinite(numbers)])
    assert same_numbers(np.array([np.inf, 1.5, -np.inf, np.nan, -0.0]))


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
    expected = "He 0.5 2.0 a T 7 1\nH -3.0 2.0 längst F 8 1\nHe 1e-7 2.0 b T 9 1\n"
    assert (
        text(
            *(one_of, numbers, np.full(3, 2.0), words, numbers > -1),
            *(np.array([7, 8, 9]), np.ones(3, np.int32)),
        )
        == expected
    )
    assert text(numbers.astype(np.float32)) == "0.5\n-3.0\n1.0000000116860974e-7\n"
    assert text(words) == "a\nlängst\nb\n"
