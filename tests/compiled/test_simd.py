"""Explicit vectors against NumPy, and machine code that follows the sources."""

import numpy as np
import pytest
from numba.core.errors import NumbaError

from ase_vibent.compiled import jit, simd
from ase_vibent.compiled.jit import compiled
from ase_vibent.descriptors.density.site_kernel import chunk_sums


@compiled
def arithmetic(a, b, out):
    x, y = simd.load(a, 1), simd.load(b, 2)
    z = x * y
    z += simd.splat(2.0)
    z -= simd.repeat(b, 0) / x
    z *= y - x
    simd.store(out, 4, z)
    simd.store(out, 8, simd.root(x))


@compiled
def wide_arithmetic(a, weights, table, out):
    x = simd.load_lanes(a, 1) * simd.splat_lanes(3.0) + simd.repeat_lanes(a, 0)
    simd.store(out, 0, x * simd.load_weight(weights, 2) + simd.load_weight(table, 2))


@compiled
def rearranged(a, out):
    rows = simd.load(a, 0), simd.load(a, 4), simd.load(a, 8), simd.load(a, 12)
    simd.store(out, 0, simd.sums(rows[0], rows[1], rows[2], rows[3]))
    b, c, d, e = simd.transpose(rows[0], rows[1], rows[2], rows[3])
    simd.store(out, 4, b)
    simd.store(out, 8, c)
    simd.store(out, 12, d)
    simd.store(out, 16, e)
    return simd.below(rows[0], rows[1])


@pytest.fixture
def numbers():
    return np.random.default_rng(0).uniform(0.5, 2.0, size=32)


def test_operators_and_what_is_written_where(numbers):
    other, out = numbers[::-1].copy(), np.zeros(16)
    arithmetic(numbers, other, out)
    x, y = numbers[1:5], other[2:6]
    np.testing.assert_allclose(out[4:8], (x * y + 2.0 - other[0] / x) * (y - x), rtol=1e-14)
    np.testing.assert_allclose(out[8:12], np.sqrt(x), rtol=1e-15)
    np.testing.assert_array_equal(out[[0, 1, 2, 3, 12, 13, 14, 15]], 0)


def test_weights_are_equal_for_all_or_a_row(numbers):
    table, out = np.arange(32.0).reshape(4, 8), np.zeros(8)
    wide_arithmetic(numbers, numbers, table, out)
    np.testing.assert_allclose(
        out, (3 * numbers[1:9] + numbers[0]) * numbers[2] + table[2], rtol=1e-14
    )


def test_sums_transpose_and_comparison(numbers):
    out = np.zeros(20)
    bits = rearranged(numbers, out)
    rows = numbers[:16].reshape(4, 4)
    np.testing.assert_allclose(out[:4], rows.sum(axis=1), rtol=1e-15)
    np.testing.assert_array_equal(out[4:].reshape(4, 4), rows.T)
    assert bits == sum(1 << k for k in range(4) if rows[0, k] < rows[1, k])


def test_arrays_with_gaps_are_refused(numbers):
    with pytest.raises((NumbaError, TypeError), match="C-contiguous"):
        arithmetic(numbers[::2], numbers, np.zeros(16))


def test_machine_code_is_kept_for_exactly_these_sources(tmp_path, monkeypatch):
    """Numba's own stamp is of one file; the kernels are made of several."""
    digest = jit._digest_of_sources()
    assert chunk_sums._cache._cache_file._source_stamp[1] == digest
    files = {
        "compiled/jit.py": "",
        "compiled/simd.py": "from ase_vibent.compiled.jit import inlined",
        "kernels/sums.py": "from ase_vibent.compiled.simd import load\n"
        "from ase_vibent.kernels import inner\n",
        "kernels/inner.py": "from ase_vibent.constants import (\n    WIDTH,\n)",
        "constants.py": "WIDTH = 4",
        "kernels/caller.py": "from ase_vibent.kernels.sums import add",
        "elsewhere.py": "import ase_vibent.kernels.caller",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "compiled" / "jit.py"))
    compute = jit._digest_of_sources.__wrapped__
    before = compute()
    assert compute() == before
    for name, counts in {
        "compiled/simd.py": True,
        "kernels/sums.py": True,
        "kernels/inner.py": True,
        "constants.py": True,
        "kernels/caller.py": False,
        "elsewhere.py": False,
    }.items():
        (tmp_path / name).write_text(files[name] + "\n# changed")
        assert (compute() != before) == counts, name
        (tmp_path / name).write_text(files[name])
