"""Hessians that the user brings: whose they are, and what cannot be one."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from scipy.sparse import csr_array

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidInputError
from ase_vibent.hessian import HessianOptions, HessianSource, compute_hessian


def copper(*fixed):
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    atoms.rattle(0.03, seed=0)
    atoms.set_constraint(FixAtoms(list(fixed)))
    return atoms


def test_matrix_of_the_free_atoms_serves_no_others():
    """Three of four atoms are free in both structures, but not the same three."""
    matrix = compute_hessian(copper(0), EMT())
    alone, both = (HessianSource(calculator, matrix) for calculator in (None, EMT()))
    for source in (alone, both):
        np.testing.assert_allclose(source(copper(0)), matrix, atol=1e-12)
    with pytest.raises(InvalidInputError, match="belongs to the structure"):
        alone(copper(3))
    expected = compute_hessian(copper(3), EMT())
    np.testing.assert_allclose(both(copper(3)), expected, atol=1e-12)


def test_matrix_of_all_atoms_serves_every_constraint():
    source = HessianSource(None, compute_hessian(copper(), EMT()))
    for fixed in ([], [0], [3, 1]):
        expected = compute_hessian(copper(*fixed), EMT())
        np.testing.assert_allclose(source(copper(*fixed)), expected, atol=1e-12)


def test_failure_gives_the_matrix_to_nobody():
    source = HessianSource(None, compute_hessian(copper(), EMT()))
    with pytest.raises(InvalidInputError, match="expected 24 × 24 entries"):
        source(copper() * (2, 1, 1))
    assert source(copper()).shape == (12, 12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.triu, "symmetric"),
        (lambda matrix: matrix.reshape(4, 3, 4, 3).transpose(1, 0, 3, 2).reshape(12, 12), "order"),
        (lambda matrix: matrix + 5 * np.eye(12), "translation of all atoms"),
        (lambda matrix: 1j * matrix, "real numbers"),
    ],
    ids=["triangle", "other order", "held by springs", "complex"],
)
def test_what_cannot_be_a_hessian(change, message, sparse):
    matrix = change(compute_hessian(copper(), EMT()))
    users = HessianEntropyCalculator(hessian=csr_array(matrix) if sparse else matrix)
    with pytest.raises(InvalidInputError, match=message):
        users.get_property("entropy", copper())


def test_noise_of_forces_is_let_pass():
    """As density functional theory: a per cent of the largest entry, in single precision."""
    matrix = compute_hessian(copper(), EMT())
    noise = np.random.default_rng(0).uniform(-1, 1, matrix.shape) * 0.01 * np.abs(matrix).max()
    source = HessianSource(None, (matrix + noise).astype(np.float32))
    np.testing.assert_allclose(source(copper()), matrix, atol=np.abs(noise).max() * 1.01)


class Tagged(Calculator):
    """EMT with an extra spring between tagged atoms, periodic images left out."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        forces = EMT().get_property("forces", atoms)
        i, j = np.flatnonzero(atoms.get_tags())
        pull = atoms.positions[j] - atoms.positions[i]
        forces[i] += pull
        forces[j] -= pull
        self.results = {"energy": 0.0, "forces": forces}


def test_tags_break_the_symmetry():
    """Atoms of one species that the calculator tells apart are not displaced for each other."""
    crystal = bulk("Cu", "fcc", a=3.59, cubic=True)
    crystal.set_tags([1, 1, 0, 0])
    expected = compute_hessian(crystal, Tagged(), options=HessianOptions(symmetry=False))
    np.testing.assert_allclose(compute_hessian(crystal, Tagged()), expected, atol=1e-9)
