"""Crystals of several sublattices, [Torabi2026]: B2 (EMT) and wurtzite (Tersoff)."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import ACE, HessianEntropyCalculator, SiteEntropyCalculator, attach_labels, train
from ase_vibent.potentials import tersoff_silicon_carbide
from ase_vibent.structures import label_sublattices
from ase_vibent.structures.atom_types import SUBLATTICES


def b2():
    """AlAu, which EMT holds stable in this structure (NiAl, CuAu, CuPd are not)."""
    return bulk("AuAl", "cesiumchloride", a=3.1907)


def wurtzite():
    return bulk("SiC", "wurtzite", a=3.0555, c=4.9895)


#: Primitive cell, potential, repeats of a cell, degeneracies of the optical modes, orbits of sites.
CRYSTALS = {
    "B2": (b2, EMT, (2, 2, 2), [3], 2),
    "wurtzite": (wurtzite, tersoff_silicon_carbide, (2, 2, 1), [2, 1, 1, 2, 3], 2),
}
every_crystal = pytest.mark.parametrize("name", CRYSTALS)


def exact(name, **options):
    return HessianEntropyCalculator(CRYSTALS[name][1](), mesh="gamma", **options)


def supercell(name):
    primitive, _, repeats, *_ = CRYSTALS[name]
    return primitive() * repeats


@every_crystal
def test_optical_modes(name):
    """Their number, and degeneracies by the group: T1u of B2; A1 + E1 (at one frequency without
    Coulomb forces) + 2 B1 + 2 E2."""
    primitive, *_, degeneracies, _ = CRYSTALS[name]
    frequencies = exact(name).get_frequencies(primitive())
    assert len(frequencies) == 3 * (len(primitive()) - 1) == sum(degeneracies)
    assert frequencies.min() > 0.02  # eV: the optical branches keep clear of the acoustic ones
    levels = np.flatnonzero(np.diff(frequencies) > 1e-5) + 1
    assert sorted(map(len, np.split(frequencies, levels))) == sorted(degeneracies)


@every_crystal
def test_sublattices(name):
    primitive, _, repeats, _, n_orbits = CRYSTALS[name]
    cell = supercell(name)
    labels = label_sublattices(cell, primitive()).arrays[SUBLATTICES]
    assert len(set(labels)) == n_orbits
    by_site = label_sublattices(cell, primitive(), by="site").arrays[SUBLATTICES]
    np.testing.assert_array_equal(by_site, np.tile(np.unique(by_site), np.prod(repeats)))
    assert len(set(by_site)) == len(primitive())


@every_crystal
@pytest.mark.parametrize("decomposition", ["mass-free", "mass-weighted"])
def test_sites_of_a_sublattice_are_alike(name, decomposition):
    cell = supercell(name)
    labels = label_sublattices(cell, CRYSTALS[name][0]()).arrays[SUBLATTICES]
    calculator = exact(name, decomposition=decomposition)
    entropies = calculator.get_property("entropies", cell) / kB
    means = [entropies[labels == label].mean() for label in sorted(set(labels))]
    np.testing.assert_allclose(entropies, np.array(means)[labels], atol=1e-6)
    assert abs(means[0] - means[1]) > 0.1
    assert entropies.sum() == pytest.approx(calculator.get_property("entropy", cell) / kB)


@every_crystal
def test_gradients_of_sites(name, rattle):
    """Against differences of the entropies, one site of each sublattice."""
    crystal = supercell(name)
    atoms = rattle(crystal, 0.03, seed=1)
    calculator = exact(name, crystal=crystal, decomposition="normalised", displacement=0.003)
    sites, moved, step = [0, 1], (1, 2), 1e-3
    found = calculator.get_site_entropy_gradients(atoms, sites)[:, *moved]
    values = []
    for sign in (1, -1):
        copy = atoms.copy()
        copy.positions[moved] += sign * step
        values.append(calculator.get_property("entropies", copy)[sites])
    expected = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_models_resolve_sublattices(rattle):
    """A model by sublattice knows the sites of wurtzite apart; it gives the crystal back."""
    crystal = label_sublattices(supercell("wurtzite"), wurtzite())
    calculator = exact("wurtzite")
    frames = [attach_labels(crystal, calculator, name="w", labels=["sites"])]
    for seed in range(4):
        atoms = label_sublattices(rattle(crystal, 0.03, seed), wurtzite())
        frames.append(attach_labels(atoms, calculator, reference="w", labels=["sites"]))
    symbols, numbers = crystal.get_chemical_symbols(), crystal.arrays[SUBLATTICES]
    kinds = sorted({f"{s}:{k}" for s, k in zip(symbols, numbers, strict=True)})
    basis = ACE(kinds, cutoff=3.5, order=2, degree=6)
    model = SiteEntropyCalculator(train(frames, basis, target="entropy"), extrapolation="ignore")
    labels = crystal.arrays[SUBLATTICES]
    reduced = model.get_property("entropies", crystal) / kB
    for label in sorted(set(labels)):
        assert np.ptp(reduced[labels == label]) < 1e-8
    total = calculator.get_property("entropy", frames[2])
    reference = calculator.get_property("entropy", crystal)
    found = [model.get_property("entropy", a) for a in (frames[2], crystal)]
    assert (found[0] - found[1]) / kB == pytest.approx((total - reference) / kB, abs=0.05)
