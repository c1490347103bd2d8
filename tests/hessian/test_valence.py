"""Valence force field: symmetries, fits, and what it spares searches for soft modes."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from scipy.stats import ortho_group

from ase_vibent.errors import InvalidInputError, UnknownSpeciesError
from ase_vibent.harmonic.modes import lowest_eigenvalues
from ase_vibent.hessian import ValenceForceField, compute_hessian, soft_modes
from ase_vibent.potentials import stillinger_weber_silicon


def silicon(rattle, seed: int, repeat: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    """Off its sites by 0.2 Å."""
    return rattle(bulk("Si", cubic=True) * repeat, 0.2, seed)


@pytest.fixture(scope="module")
def force_field(rattle) -> ValenceForceField:
    """Of silicon, from three cells of eight atoms."""
    return ValenceForceField.fit(
        [silicon(rattle, seed) for seed in range(3)], stillinger_weber_silicon()
    )


def test_it_transfers(force_field, rattle):
    atoms = silicon(rattle, 7)
    exact = compute_hessian(atoms, stillinger_weber_silicon())
    missed = force_field.hessian(atoms).toarray() - exact
    assert np.linalg.norm(missed) < 0.1 * np.linalg.norm(exact)


def test_symmetries(force_field, rattle):
    atoms = silicon(rattle, 8)
    own = force_field.hessian(atoms).toarray()
    assert np.abs(own - own.T).max() < 1e-12
    assert np.abs(own.reshape(24, 8, 3).sum(axis=1)).max() < 1e-11  # rigid shifts cost nothing
    turn = ortho_group.rvs(3, random_state=0)  # a reflection, too
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T, scale_atoms=False)
    turned.positions = atoms.positions @ turn.T
    whole = np.kron(np.eye(8), turn)
    np.testing.assert_allclose(
        force_field.hessian(turned).toarray(), whole @ own @ whole.T, atol=1e-10
    )
    order = np.random.default_rng(1).permutation(8)
    rows = (3 * order[:, None] + np.arange(3)).ravel()
    np.testing.assert_allclose(
        force_field.hessian(atoms[order]).toarray(), own[np.ix_(rows, rows)], atol=1e-11
    )
    held = atoms.copy()
    held.set_constraint(FixAtoms([0, 5]))
    free = np.setdiff1d(np.arange(24), [0, 1, 2, 15, 16, 17])
    np.testing.assert_allclose(
        force_field.hessian(held).toarray(), own[np.ix_(free, free)], atol=1e-12
    )


@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 2, 3)])  # dense, and sparse
def test_determinants_are_products_of_eigenvalues(force_field, rattle, repeat):
    atoms = silicon(rattle, 9, repeat)
    values = lowest_eigenvalues(
        atoms, force_field.hessian(atoms).toarray(), np.arange(len(atoms)), 3 * len(atoms) - 3
    )
    for softest in (0, 4):
        expected = np.log(np.abs(values[softest:])).sum()
        # The softest are known to the eigensolver's tolerance.
        assert force_field.log_determinant(atoms, softest) == pytest.approx(expected, abs=5e-3)


def test_it_spares_force_calls(force_field, rattle):
    atoms, calculator = silicon(rattle, 10, (2, 2, 3)), stillinger_weber_silicon()
    exact = lowest_eigenvalues(atoms, compute_hessian(atoms, calculator), np.arange(96), 3)
    calls = []
    for similar in (None, force_field.hessian(atoms)):
        found = soft_modes(
            atoms, calculator, 3, similar=similar, tolerance=0.02, max_force_calls=300
        )
        np.testing.assert_allclose(found.eigenvalues, exact, rtol=0.03)
        calls.append(found.force_calls)
    assert calls[1] < calls[0]
    forward = soft_modes(
        atoms, calculator, 3, similar=similar, tolerance=0.02, differences="forward"
    )
    # Not at rest, and off by what is anharmonic over 0.01 Å.
    np.testing.assert_allclose(forward.eigenvalues, exact, rtol=0.1)
    assert forward.force_calls < 0.7 * calls[1]


def test_several_species(rattle):
    cells = [rattle(bulk("CuAu", "rocksalt", a=5.4, cubic=True), 0.1, seed) for seed in range(5)]
    fitted = ValenceForceField.fit(cells[:4], EMT())
    assert np.isfinite(fitted.coefficients).all()
    exact = compute_hessian(cells[4], EMT())
    missed = fitted.hessian(cells[4]).toarray() - exact
    assert np.linalg.norm(missed) < 0.3 * np.linalg.norm(exact)


def test_what_it_does_not_know(force_field):
    with pytest.raises(UnknownSpeciesError, match="expected Si, to which the force field"):
        force_field.hessian(bulk("Ge"))
    with pytest.raises(InvalidInputError, match="structures: expected one"):
        ValenceForceField.fit([], EMT())
