"""--mesh on the command line: what is averaged over, and what is no mesh."""

from __future__ import annotations

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk

from ase_vibent import HessianEntropyCalculator, dataset, read_labels
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.structures import vacancies
from ase_vibent.thermo import defect_formation


@pytest.fixture
def cell(tmp_path, monkeypatch) -> Atoms:
    """Rattled silicon, also in a file."""
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(0.03, seed=1)
    ase.io.write("in.traj", atoms)
    return atoms


def test_labels(cell, vibent):
    """Of each mesh for itself; labels of one are none of another."""
    words = ("label", "in.traj", "-o", "out.xyz", "--calculator", "sw-si", "-j", 1)
    words = (*words, "--labels", "sites")
    for number, (asked, mesh) in enumerate(
        (((), [4, 4, 4]), (("--mesh", "gamma"), None), (("--mesh", "1x1x2"), [1, 1, 2]))
    ):
        for outcome in ("1 labelled, 0 found", "0 labelled, 1 found"):
            result = vibent(*words, *asked)
            assert (result.code, result.err) == (0, "")
            assert outcome in result.out
        frames = read_labels("out.xyz")
        assert len(frames) == number + 1
        found = frames[-1].info.get(dataset.MESH)
        assert (found is None and mesh is None) or found.tolist() == mesh
        exact = HessianEntropyCalculator(stillinger_weber_silicon(), mesh=mesh or "gamma")
        expected = exact.get_property("entropy", cell)
        assert frames[-1].info[dataset.ENTROPY] == pytest.approx(expected, rel=1e-7)
    assert vibent(*words, "--mesh", "auto").code == 0
    assert vibent(*words, "--mesh", "4x4x4").code == 0  # which is what "auto" chose
    assert len(read_labels("out.xyz")) == 3


def test_width_of_the_infinite_crystal(cell, vibent, strict_json):
    """It reaches formations and labels, of which those of another width are others."""
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    ase.io.write("crystal.cif", crystal)
    ase.io.write("defect.traj", vacancies(crystal)[0])
    exact = [
        HessianEntropyCalculator(stillinger_weber_silicon(), bulk_width=width)
        for width in (15.0, 6.0)
    ]
    bulks = [calc.bulk_vibrations(crystal, 300).entropies[0] for calc in exact]
    assert abs(bulks[0] - bulks[1]) > 1e-6
    words = ("label", "in.traj", "-o", "out.xyz", "--calculator", "sw-si", "-j", 1)
    words = (*words, "--labels", "sites", "--reference", "crystal.cif")
    assert "2 labelled, 0 found" in vibent(*words).out
    assert "1 labelled, 1 found" in vibent(*words, "--bulk-width", 6).out
    crystals = [a for a in read_labels("out.xyz") if dataset.BULK in a.arrays]
    assert [a.arrays[dataset.BULK].sum() for a in crystals] == pytest.approx(bulks, rel=1e-9)
    words = ("formation", "defect.traj", "--reference", "crystal.cif", "--calculator", "sw-si")
    words = (*words, "--fmax", 9, "--mesh", "2x2x2", "--json")
    found = [strict_json(vibent(*words, "--bulk-width", width).out) for width in (15, 6)]
    entropies = [one["defects"][0]["formation_entropies_eV_per_K"][0] for one in found]
    # One atom is put back.
    expected = (bulks[1] - bulks[0]) / len(crystal)
    assert entropies[1] - entropies[0] == pytest.approx(expected, abs=1e-12)


def test_a_cluster_has_no_mesh(cell, vibent):
    cell.pbc = False
    ase.io.write("in.traj", cell)
    words = ("label", "in.traj", "-o", "out.xyz", "--calculator", "sw-si", "-j", 1)
    result = vibent(*words, "--unstable", "any", "--mesh", "2x2x2")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "a cluster has vibrations at Γ only" in result.err
    assert vibent(*words, "--unstable", "any").code == 0
    assert dataset.MESH not in read_labels("out.xyz")[0].info


def test_formation(cell, vibent, strict_json):
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * 2
    ase.io.write("crystal.xyz", crystal)
    ase.io.write("vacancy.xyz", crystal[1:])
    words = ("formation", "vacancy.xyz", "--reference", "crystal.xyz", "--calculator", "sw-si")
    for asked, mesh in (("gamma", "gamma"), ("1x1x2", (1, 1, 2))):
        result = vibent(*words, "--mesh", asked, "--json")
        assert result.code == 0, result.err
        (found,) = strict_json(result.out)["defects"]
        exact = HessianEntropyCalculator(stillinger_weber_silicon(), mesh=mesh)
        expected = defect_formation(crystal[1:], crystal, exact)
        assert found["formation_entropies_eV_per_K"] == pytest.approx(expected.entropies, abs=1e-8)
