"""Files of SNAP, judged by LAMMPS."""

import numpy as np
import pytest

from ase_vibent import ACE, Bispectrum, SiteEnergyCalculator, SiteEntropyCalculator
from ase_vibent.errors import InvalidInputError
from ase_vibent.export import write_snap

#: Descriptor, and rank of the quadratic part.
CASES = {
    "linear": (Bispectrum(["Si"], cutoff=4.0, j_max=3), 0),
    "quadratic": (Bispectrum(["Si"], cutoff=4.0, j_max=2, rfac0=0.9), 3),
    "alloy": (Bispectrum(["Si", "C"], cutoff=3.5, j_max=2.5), 0),
    "quadratic alloy": (Bispectrum(["C", "Ge", "Si"], cutoff=3.0, j_max=1), 2),
    "neighbours alike": (Bispectrum(["Si", "C"], cutoff=3.5, j_max=2, neighbours=["*"]), 0),
    "neighbours in another order": (
        Bispectrum(["Si", "C", "Ge"], cutoff=3.0, j_max=1, neighbours=["Ge", "C", "*"]),
        1,
    ),
    "densities of no neighbours": (
        Bispectrum(["Si", "C"], cutoff=3.0, j_max=1, neighbours=["C", "*", "Si"]),
        1,
    ),
    "one element": (Bispectrum(["Si"], cutoff=3.0, j_max=1, neighbours=["*", "Si"]), 1),
}


@pytest.mark.parametrize(("descriptor", "rank"), CASES.values(), ids=CASES)
def test_lammps(descriptor, rank, random_model, alloy, lammps, tmp_path):
    """What is left are our tables of radial functions, good to 1e-10 of these."""
    model, atoms = random_model(descriptor, rank=rank), alloy(descriptor.species, 2)
    summary = write_snap(model, tmp_path / "model.snapcoeff", temperature=600)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.snapcoeff",
        "model.snapparam",
    ]
    judge = lammps(summary["lammps"], descriptor.species, needs="snap")
    calculator = SiteEntropyCalculator(model, temperature=600, extrapolation="ignore")
    energy = judge.get_property("energy", atoms)
    assert calculator.get_property("energy", atoms) == pytest.approx(energy, rel=1e-9)
    forces = judge.get_property("forces", atoms)
    np.testing.assert_allclose(
        calculator.get_property("forces", atoms), forces, atol=2e-8 * np.abs(forces).max()
    )


def test_potential(random_model, alloy, lammps, tmp_path):
    descriptor = Bispectrum(["Si"], cutoff=4.0, j_max=1.5)
    model, atoms = random_model(descriptor, "energy", rank=1), alloy(["Si"], 2)
    summary = write_snap(model, tmp_path / "model")
    judge = lammps(summary["lammps"], ["Si"], needs="snap")
    expected = SiteEnergyCalculator(model).get_property("energy", atoms)
    assert judge.get_property("energy", atoms) == pytest.approx(expected, rel=1e-9)


def test_entropy_beside_a_potential(random_model, alloy, lammps, tmp_path):
    """E - T S: forces are those of F_vib(T), at any T from one file."""
    descriptor = Bispectrum(["Si"], cutoff=4.0, j_max=1.5)
    model, atoms = random_model(descriptor), alloy(["Si"], 2)
    summary = write_snap(model, tmp_path / "model", temperature=300, quantity="entropy")
    potential = ["pair_style lj/cut 4.0", "pair_coeff 1 1 0.1 2.2"]
    snap = summary["lammps"][1].replace("* *", "* * snap")
    both = [
        "variable factor equal -900.0",
        "pair_style hybrid/scaled 1.0 lj/cut 4.0 v_factor snap",
        "pair_coeff 1 1 lj/cut 0.1 2.2",
        snap,
    ]
    judge, alone = (lammps(commands, ["Si"], needs="snap") for commands in (both, potential))
    calculator = SiteEntropyCalculator(model, temperature=900, extrapolation="ignore")
    own = calculator.get_property("forces", atoms)
    np.testing.assert_allclose(
        judge.get_property("forces", atoms) - alone.get_property("forces", atoms),
        own,
        atol=2e-8 * np.abs(own).max(),
    )


@pytest.mark.parametrize(
    ("descriptor", "rank", "words"),
    [
        (ACE(["Si"], order=2, degree=4), 0, "ACE; train one with Bispectrum, or export to yace"),
        (Bispectrum(["Si:0", "Si:1"], j_max=1), 0, "sublattices"),
        (Bispectrum(["*"], j_max=1), 0, "any species"),
        (Bispectrum(["Si", "C", "Ge"], j_max=1, neighbours=["Si", "*"]), 0, "C, Ge share one"),
        (Bispectrum(["Si", "C", "Ge", "Sn", "Pb", "B"], j_max=2), 1, "coefficients per element"),
    ],
)
def test_what_files_cannot_hold(descriptor, rank, words, random_model, tmp_path):
    with pytest.raises(InvalidInputError, match=words):
        write_snap(random_model(descriptor, rank=rank), tmp_path / "no", temperature=300)
    assert not list(tmp_path.iterdir())
