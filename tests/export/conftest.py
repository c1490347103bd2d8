"""Models with random coefficients, and LAMMPS' own words on their files."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lammpslib import LAMMPSlib

from ase_vibent import SiteModel
from ase_vibent.errors import InvalidInputError
from ase_vibent.lammps import open_lammps
from ase_vibent.model import Curvature


@pytest.fixture
def random_model():
    """Function (descriptor, target, rank) -> site model, quadratic if it has a rank."""

    def make(descriptor, target="entropy", rank=0):
        rng = np.random.default_rng(7)
        shape = len(descriptor.species), descriptor.n_features
        curvature = None
        if rank:
            factors = rng.normal(size=(shape[0], rank, shape[1]))
            curvature = Curvature(factors, 1e-3 * rng.normal(size=(shape[0], rank)))
        weights, shift = rng.normal(size=shape), rng.normal(size=shape)
        constants = rng.normal(size=shape[0])
        return SiteModel(
            descriptor, constants, weights, shift, np.ones(shape), target, curvature=curvature
        )

    return make


@pytest.fixture
def alloy():
    """Function (species, repeats) -> rattled and strained cell of random elements."""

    def make(species, repeats=1, a=4.36):
        rng = np.random.default_rng(3)
        atoms = bulk("SiC", "zincblende", a=a, cubic=True) * repeats
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.uniform(-0.1, 0.1, (len(atoms), 3))
        atoms.symbols[:] = rng.choice(species, len(atoms))
        return atoms

    return make


@pytest.fixture
def lammps():
    """Function (commands, species, needs) -> LAMMPS as a calculator, if it has that pair style."""
    try:
        engine = open_lammps()
    except InvalidInputError as error:
        pytest.skip(str(error))
    styles = engine.available_styles("pair")
    engine.close()

    def calculator(commands, species, needs):
        if needs not in styles:
            pytest.skip(f"this LAMMPS has no pair_style {needs}")
        types = {symbol: number for number, symbol in enumerate(species, start=1)}
        return LAMMPSlib(lmpcmds=commands, atom_types=types)

    return calculator
