"""Displacements kept on disk: what is used again, for whom, and what survives."""

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from joblib import Parallel, delayed
from matscipy.calculators.pair_potential import LennardJonesQuadratic, PairPotential

from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.hessian import DisplacedForces, HessianOptions, compute_hessian
from ase_vibent.hessian.cache import DisplacementCache
from ase_vibent.potentials import stillinger_weber_silicon


class Counted(Calculator):
    """Forces of another calculator, counted; it hides that one's parameters and Hessian."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.results = {name: self.inner.get_property(name, self.atoms) for name in properties}


def silicon():
    """Seven atoms, 42 displacements."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    del atoms[3]
    atoms.rattle(0.05, seed=8)
    return atoms


def argon(n=1):
    """Four atoms, 24 displacements."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (n, 1, 1)
    atoms.rattle(0.1, seed=4)
    return atoms


def argon_potential(depth=0.0104):
    return PairPotential({(18, 18): LennardJonesQuadratic(depth, 3.4, 6.5)})


def responses(atoms, calculator, folder, **words):
    return DisplacedForces(atoms, calculator, options=HessianOptions(cache=folder), **words)


def differences(atoms, calculator, *, sparse=False, **options):
    own = HessianOptions(method="finite-differences", **options)
    return compute_hessian(atoms, calculator, options=own, sparse=sparse)


def files(folder):
    return sorted(Path(folder).glob("*.npz"))


def test_repeated_run_computes_one_displacement(tmp_path):
    atoms = silicon()
    first, second = (Counted(stillinger_weber_silicon()) for _ in range(2))
    result = differences(atoms, first, cache=tmp_path / "new" / "folder")
    again = differences(atoms, second, cache=tmp_path / "new" / "folder")
    assert len(files(tmp_path / "new" / "folder")) == first.calls == 42
    assert second.calls == 1
    np.testing.assert_allclose(again, result, atol=1e-12)
    np.testing.assert_array_equal(result, differences(atoms, stillinger_weber_silicon()))


@pytest.mark.parametrize(
    "change",
    [
        lambda atoms: atoms.positions.__iadd__(1e-12 * np.eye(7, 3)),
        lambda atoms: atoms.set_cell(atoms.cell.array * (1 + 1e-12)),
        lambda atoms: atoms.set_pbc([True, True, False]),
        lambda atoms: atoms.set_atomic_numbers([*atoms.numbers[:-1], 6]),
        lambda atoms: atoms.set_initial_magnetic_moments(np.eye(7)[0]),
        lambda atoms: atoms.set_initial_charges(np.eye(7)[0]),
    ],
    ids=["positions", "cell", "pbc", "numbers", "moments", "charges"],
)
def test_other_structures_share_a_folder(tmp_path, change):
    atoms = silicon()
    responses(atoms, LennardJones(), tmp_path)(np.zeros((7, 3)))
    change(atoms)
    responses(atoms, LennardJones(), tmp_path)(np.zeros((7, 3)))
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("one", [{"epsilon": 1.0}, {"epsilon": 2.0}])
def test_parameters_tell_calculators_apart(tmp_path, one):
    atoms = Atoms("Ar2", [[0, 0, 0], [1.1, 0, 0]])
    differences(atoms, LennardJones(epsilon=1.01), cache=tmp_path)
    expected = differences(atoms, LennardJones(**one))
    np.testing.assert_array_equal(differences(atoms, LennardJones(**one), cache=tmp_path), expected)
    assert len(files(tmp_path)) == 24


@pytest.mark.parametrize("depth", [0.0110, 0.0107, 0.010504, 0.0103])  # 1 % and more
def test_folder_of_a_calculator_that_looks_alike(tmp_path, depth):
    atoms = argon()
    differences(atoms, Counted(argon_potential()), cache=tmp_path)
    other = Counted(argon_potential(depth))
    with pytest.raises(CalculatorError, match=r"cache: .* was filled by another calculator"):
        differences(atoms, other, cache=tmp_path)
    assert other.calls == 1


def test_forces_at_rest_tell_no_calculators_apart(tmp_path):
    """They vanish in every perfect crystal."""
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    rest, shift = np.zeros((4, 3)), 0.01 * np.eye(4, 3)
    for displacement in (rest, shift):
        DisplacedForces(
            crystal, Counted(argon_potential()), options=HessianOptions(cache=tmp_path)
        )(displacement)
    other = DisplacedForces(
        crystal, Counted(argon_potential(1.0)), options=HessianOptions(cache=tmp_path)
    )
    other(rest)
    with pytest.raises(CalculatorError, match=r"cache: .* was filled by another calculator"):
        other(shift)


class Stretched(Counted):
    """Stresses a percent larger, forces alike."""

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        if "stress" in self.results:
            self.results["stress"] = 1.01 * self.results["stress"]


def test_virials_tell_calculators_apart(tmp_path):
    shift = 0.01 * np.eye(7, 3)
    cache = DisplacementCache(tmp_path, silicon(), Counted(None))
    real, other = (
        DisplacedForces(silicon(), kind(stillinger_weber_silicon()), virial=True)
        for kind in (Counted, Stretched)
    )
    cache.responses([shift], real.responses, virial=True)
    again = DisplacementCache(tmp_path, silicon(), Counted(None))
    with pytest.raises(CalculatorError, match="holds a virial up to"):
        again.responses([shift], other.responses, virial=True)


class Noisy(Counted):
    """As density functional theory from another start: 5e-4 eV/Å."""

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.results["forces"] += np.random.default_rng().uniform(-5e-4, 5e-4, (7, 3))


def test_noise_is_not_taken_for_another_calculator(tmp_path):
    atoms = silicon()
    for calls in (42, 1):
        calculator = Noisy(stillinger_weber_silicon())
        differences(atoms, calculator, cache=tmp_path)
        assert calculator.calls == calls


def swap(path):
    """With the entry of another displacement."""
    path.write_bytes(next(p for p in files(path.parent) if p != path).read_bytes())


def alter(**changes):
    def change(path):
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, **{k: f(arrays[k]) for k, f in changes.items()}})

    return change


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def flip(path):
    content = bytearray(path.read_bytes())
    content[250] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04 nothing"),
        lambda path: np.save(path.open("wb"), np.zeros((7, 3))),
        lambda path: np.savez(path, forces=np.zeros((3, 3))),
        lambda path: np.savez(path, other=np.zeros((7, 3))),
        truncate,
        flip,
        swap,
        alter(forces=lambda forces: 1.001 * forces),
        alter(forces=lambda forces: np.where(np.eye(7, 3), np.nan, forces)),
        alter(checksum=lambda checksum: checksum[:-1]),
    ],
    ids=[
        *("empty", "garbage", "npy", "shape", "name", "truncated", "flipped bit"),
        *("swapped", "scaled", "nan", "checksum"),
    ],
)
def test_damaged_files_are_computed_again(tmp_path, damage):
    atoms = silicon()
    expected = differences(atoms, Counted(stillinger_weber_silicon()), cache=tmp_path)
    for path in files(tmp_path)[::6]:
        damage(path)
    for calls in (8, 1):  # seven damaged, and one for comparison
        calculator = Counted(stillinger_weber_silicon())
        result = differences(atoms, calculator, cache=tmp_path)
        np.testing.assert_allclose(result, expected, atol=1e-12)
        assert calculator.calls == calls


def test_virials_are_added_to_files_without(tmp_path):
    atoms = silicon()
    shift = 0.01 * np.eye(7, 3)
    expected = DisplacedForces(atoms, stillinger_weber_silicon(), virial=True)(shift)
    for virial in (False, True, True, False):
        calculator = stillinger_weber_silicon()
        response = DisplacedForces(
            atoms, calculator, virial=virial, options=HessianOptions(cache=tmp_path)
        )(shift)
        np.testing.assert_allclose(response.forces, expected.forces, atol=1e-12)
        assert (response.virial is not None) == virial
        if virial:
            np.testing.assert_allclose(response.virial, expected.virial, atol=1e-12)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("options", [{"interaction_range": 6.5}, {"sparse": True}, {}])
def test_cache_and_all_other_options(tmp_path, options):
    atoms = argon(6) if options else bulk("Ar", "fcc", a=5.3, cubic=True)
    results = []
    for _ in range(2):
        calculator = Counted(argon_potential())
        results.append(differences(atoms, calculator, cache=tmp_path, **options))
    assert calculator.calls == 1
    assert np.abs(results[0] - results[1]).max() < 1e-12


class Slow(LennardJones):
    def calculate(self, *arguments, **keywords):
        time.sleep(0.2)
        super().calculate(*arguments, **keywords)


def test_killed_run_goes_on(tmp_path):
    """SIGKILL while a process of its own, which has not imported this module, is at work."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    call = functools.partial(differences, argon(), Counted(Slow()), cache=tmp_path)
    code = "import pickle, sys; pickle.load(sys.stdin.buffer)()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with process.stdin as pipe:
        cloudpickle.dump(call, pipe)
    while len(files(tmp_path)) < 5 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(files(tmp_path))
    assert 5 <= done < 24
    calculator = Counted(LennardJones())
    result = differences(argon(), calculator, cache=tmp_path)
    assert calculator.calls == 24 - done + 1
    np.testing.assert_allclose(result, differences(argon(), LennardJones()), atol=1e-10)


def test_concurrent_runs_share_a_folder(tmp_path):
    runs = [
        delayed(differences)(argon(), Counted(LennardJones()), cache=tmp_path) for _ in range(4)
    ]
    for result in Parallel(n_jobs=4, prefer="threads")(runs):
        np.testing.assert_allclose(result, differences(argon(), LennardJones()), atol=1e-10)
    assert len(files(tmp_path)) == len(list(tmp_path.iterdir())) == 24


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "below", 3):
        with pytest.raises(InvalidInputError, match="cache: expected a folder"):
            differences(argon(), LennardJones(), cache=path)


def test_full_disk(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CalculatorError, match=r"cache: cannot write .*No space left"):
        differences(argon(), LennardJones(), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
