"""Tables of pairs, judged by LAMMPS."""

import numpy as np
import pytest

from ase_vibent import ACE, Bispectrum, SiteEnergyCalculator, SiteEntropyCalculator
from ase_vibent.errors import InvalidInputError
from ase_vibent.export import write_table
from ase_vibent.export.pair_table import radial_functions

CASES = {
    "one element": ACE(["Si"], cutoff=4.0, order=1, degree=8, inner=1.4),
    "alloy": ACE(["C", "Si", "Ge"], cutoff=3.5, order=1, degree=6, power=1, inner=1.3),
    "neighbours alike": ACE(
        ["Si", "C"], cutoff=4.0, order=1, degree=6, inner=1.3, neighbours=["*"]
    ),
}


@pytest.mark.parametrize("descriptor", CASES.values(), ids=CASES)
@pytest.mark.parametrize("points", [2000, 10_000])
def test_lammps(descriptor, points, random_model, alloy, lammps, tmp_path):
    """Sums over pairs, to the accuracy that the table states: some 50 pairs an atom."""
    model, atoms = random_model(descriptor), alloy(descriptor.species, 2)
    summary = write_table(model, tmp_path / "model.table", temperature=600, points=points)
    judge = lammps(summary["lammps"], descriptor.species, needs="table")
    calculator = SiteEntropyCalculator(model, temperature=600, extrapolation="ignore")
    energy = judge.get_property("energy", atoms)
    energy += sum(summary["left_out"][symbol] for symbol in atoms.symbols)
    forces, own = judge.get_property("forces", atoms), calculator.get_property("forces", atoms)
    rounding = 1e-12 * np.abs(forces).max()
    errors = abs(calculator.get_property("energy", atoms) - energy), np.abs(own - forces).max()
    assert errors[0] < 25 * len(atoms) * summary["energy_error"] + rounding * len(atoms)
    assert errors[1] < 50 * summary["force_error"] + rounding
    assert errors[1] < (1e-9 if points == 10_000 else 1e-6) * np.abs(forces).max()


def test_potential(random_model, alloy, lammps, tmp_path):
    """Orders that a model has, but not its coefficients, are in nobody's way."""
    descriptor = ACE(["Si"], cutoff=4.0, order=2, degree=4, inner=1.4)
    model, atoms = random_model(descriptor, "energy"), alloy(["Si"], 2)
    pairs = ACE(["Si"], cutoff=4.0, order=1, degree=4, inner=1.4)
    model.weights[:, ~descriptor.features_within(pairs)] = 0
    summary = write_table(model, tmp_path / "model.table")
    judge = lammps(summary["lammps"], ["Si"], needs="table")
    energy = judge.get_property("energy", atoms) + len(atoms) * summary["left_out"]["Si"]
    expected = SiteEnergyCalculator(model).get_property("energy", atoms)
    assert energy == pytest.approx(expected, rel=1e-9)


def test_radial_functions_are_those_of_the_kernel(alloy):
    descriptor = CASES["one element"]
    atoms = alloy(["Si"])
    distances = atoms.get_all_distances(mic=False)[0, 1:]
    atoms.pbc = False
    values, slopes = radial_functions(descriptor.radial, distances)
    np.testing.assert_allclose(values.sum(axis=1), descriptor.compute(atoms)[0], rtol=1e-12)
    h = 1e-6
    moved = (radial_functions(descriptor.radial, distances + s)[0] for s in (h, -h))
    differences = np.subtract(*moved) / (2 * h)
    np.testing.assert_allclose(slopes, differences, atol=1e-8 * np.abs(slopes).max())


@pytest.mark.parametrize(
    ("descriptor", "rank", "options", "words"),
    [
        (ACE(["Si"], order=2, degree=4), 0, {}, "order 2"),
        (ACE(["Si"], order=1, degree=4), 1, {}, "quadratic"),
        (Bispectrum(["Si"], j_max=1), 0, {}, "Bispectrum"),
        (ACE(["Si:0", "Si:1"], order=1, degree=4), 0, {}, "sublattices"),
        (ACE(["Si"], order=1, degree=4), 0, {"points": 10}, "points: expected"),
    ],
)
def test_what_tables_cannot_hold(descriptor, rank, options, words, random_model, tmp_path):
    model = random_model(descriptor, rank=rank)
    with pytest.raises(InvalidInputError, match=words):
        write_table(model, tmp_path / "no.table", temperature=300, **options)
    assert not list(tmp_path.iterdir())
