"""Explicit vectors against NumPy, and machine code that follows the sources."""

from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError

import ase_vibent
from ase_vibent.compiled import jit, simd
from ase_vibent.compiled.jit import compiled
from ase_vibent.descriptors.density import site_kernel


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
    files = {
        "__init__.py": "from ase_vibent.elsewhere import something",
        "compiled/jit.py": "",
        "compiled/simd.py": "from ase_vibent.compiled.jit import inlined",
        "kernels/sums.py": "from ase_vibent.compiled.simd import load\n"
        "from ase_vibent.kernels import (\n    inner,\n)",
        "kernels/inner.py": "from ase_vibent.constants import (\n    WIDTH,\n)",
        "constants.py": "from ase_vibent import units\nWIDTH = 4",
        "units.py": "",
        "kernels/caller.py": "from ase_vibent.kernels.sums import add",
        "elsewhere.py": "import ase_vibent.kernels.caller",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "compiled" / "jit.py"))

    def compute():
        return jit._digest_of_sources.__wrapped__(tmp_path / "kernels" / "sums.py")

    before = compute()
    assert compute() == before
    for name, counts in {
        "__init__.py": False,
        "compiled/simd.py": True,
        "kernels/sums.py": True,
        "kernels/inner.py": True,
        "constants.py": True,
        "units.py": True,
        "kernels/caller.py": False,
        "elsewhere.py": False,
    }.items():
        (tmp_path / name).write_text(files[name] + "\n# changed", encoding="utf-8")
        assert (compute() != before) == counts, name
        (tmp_path / name).write_text(files[name], encoding="utf-8")


def test_kernels_depend_on_few_files():
    """What an edit of any other file leaves as it is compiled."""
    package = Path(ase_vibent.__file__).parent
    own = Path(site_kernel.__file__)
    sources = {str(path.relative_to(package)) for path in jit._sources_of(own)}
    density = {"expansion", "interpolation", "polynomials", "work_arrays", "basis", "site_kernel"}
    needed = {f"descriptors/density/{name}.py" for name in density}
    assert needed | {"compiled/jit.py", "compiled/simd.py"} <= sources
    assert len(sources) < 20
    stamp = site_kernel.chunk_sums._cache._cache_file._source_stamp
    assert stamp[1] == jit._digest_of_sources(own)
