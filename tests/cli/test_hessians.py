"""Commands on Hessians from files: entropies, labels, formations and rates without a calculator."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB
from ase.vibrations import VibrationsData

from ase_vibent import HessianEntropyCalculator, read_labels
from ase_vibent.hessian import StoredHessian, compute_hessian
from ase_vibent.hessian.readers.phonopy import new_phonopy, to_phonopy
from ase_vibent.stationary import relax
from ase_vibent.thermo import defect_formation, transition_rate

pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")


def save_phonopy(atoms, path):
    """Hessian of EMT, into a file."""
    n, hessian = len(atoms), compute_hessian(atoms, EMT())
    phonons = new_phonopy(to_phonopy(atoms), np.eye(3, dtype=int), "P")
    blocks = hessian.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    phonons.force_constants = np.ascontiguousarray(blocks)
    phonons.save(path, settings={"force_constants": True})
    return hessian


@pytest.fixture(scope="module")
def copper_files(tmp_path_factory):
    """Folder with copper and a vacancy in it, phonopy yaml and structures; both; their Hessians."""
    folder = tmp_path_factory.mktemp("copper")
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)
    structures = {"crystal": crystal, "vacancy": relax(crystal[1:], EMT(), fmax=1e-4)}
    stored = []
    for name, atoms in structures.items():
        atoms.set_masses(atoms.get_masses())
        stored.append(StoredHessian(atoms, save_phonopy(atoms, folder / f"{name}.yaml")))
        ase.io.write(folder / f"{name}.traj", atoms)
    return folder, structures["crystal"], structures["vacancy"], stored


def test_formation_entropy_from_two_files_of_phonopy(copper_files, vibent, strict_json):
    folder, crystal, vacancy, stored = copper_files
    files = "--hessian", folder / "vacancy.yaml", "--reference-hessian", folder / "crystal.yaml"
    done = vibent("formation", *files, "-T", 300, 900, "--json")
    assert done.code == 0, done.err
    found = strict_json(done.out)["defects"][0]
    assert found["structure"] == "vacancy.yaml"
    assert found["formation_energy_eV"] is None
    assert found["concentrations"] is None
    exact = HessianEntropyCalculator(hessian=stored)
    whole, defect = (exact.vibrations(a, [300, 900]).entropies for a in (crystal, vacancy))
    # The mesh of 32 atoms is as good as the infinite crystal's.
    expected = defect - whole * 31 / 32
    assert found["formation_entropies_eV_per_K"] == pytest.approx(expected, abs=0.005 * kB)
    assert 1.5 * kB < expected[0] < 3 * kB
    with_energies = vibent("formation", *files, "--calculator", "emt", "--json")
    energy = strict_json(with_energies.out)["defects"][0]["formation_energy_eV"]
    energies = [EMT().get_potential_energy(atoms) for atoms in (crystal, vacancy)]
    assert energy == pytest.approx(energies[1] - energies[0] * 31 / 32, abs=1e-6)


def test_formation_from_a_crystal_of_another_supercell(copper_files, vibent, tmp_path, strict_json):
    folder, crystal, vacancy, stored = copper_files
    save_phonopy(bulk("Cu", "fcc", a=3.5898) * (4, 4, 4), tmp_path / "wide.yaml")
    files = "--hessian", folder / "vacancy.yaml", "--reference-hessian", tmp_path / "wide.yaml"
    done = vibent("formation", *files, "--json")
    assert done.code == 0, done.err
    found = strict_json(done.out)["defects"][0]
    assert found["n_atoms_of_crystal"] == len(crystal)
    own = HessianEntropyCalculator(hessian=stored)
    expected = defect_formation(vacancy, crystal, own)
    # Constants reach 5.1 Å and 3.6 Å.
    entropies = found["formation_entropies_eV_per_K"]
    assert entropies == pytest.approx(expected.entropies, abs=0.01 * kB)


def test_formation_of_structures_beside_their_hessians(copper_files, vibent, tmp_path, strict_json):
    """Hessians in NumPy's files, atoms in another order."""
    folder, crystal, vacancy, stored = copper_files
    names = {}
    for name, atoms in (("crystal", crystal[::-1]), ("vacancy", vacancy[::-1])):
        ase.io.write(tmp_path / f"{name}.traj", atoms)
        hessian = next(known.of(atoms) for known in stored if known.holds(atoms))
        np.save(tmp_path / f"{name}.npy", hessian)
        names[name] = tmp_path / f"{name}.npy"
    done = vibent(
        *("formation", tmp_path / "vacancy.traj", "--hessian", names["vacancy"], "--json"),
        *("--reference", tmp_path / "crystal.traj", "--reference-hessian", names["crystal"]),
    )
    files = "--hessian", folder / "vacancy.yaml", "--reference-hessian", folder / "crystal.yaml"
    values = [
        strict_json(out)["defects"][0]["formation_entropies_eV_per_K"]
        for out in (done.out, vibent("formation", *files, "--json").out)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-5 * kB)


@pytest.mark.parametrize("mesh", ["gamma", "2x2x2"])
def test_entropies_of_files(copper_files, vibent, strict_json, tmp_path, mesh):
    folder, crystal, vacancy, stored = copper_files
    done = vibent(
        *("entropy", folder / "vacancy.yaml", folder / "crystal.yaml", "--quantum", "-T", 100, 300),
        *("--mesh", mesh, "--json"),
    )
    assert done.code == 0, done.err
    rows = strict_json(done.out)
    points = mesh if mesh == "gamma" else (2, 2, 2)
    exact = HessianEntropyCalculator(hessian=stored, quantum=True, mesh=points)
    for row, atoms in ((rows[0], vacancy), (rows[1], crystal)):
        expected = exact.vibrations(atoms, [100, 300])
        assert row["entropies_eV_per_K"] == pytest.approx(expected.entropies, abs=1e-6 * kB)
        assert row["free_energies_eV"] == pytest.approx(expected.free_energies, abs=1e-6)
    assert [row["kind"] == "infinite" for row in rows] == [False, False, True]
    on_mesh = HessianEntropyCalculator(hessian=stored, quantum=True)
    bulk_value = on_mesh.vibrations(crystal, [100, 300]).entropies
    assert rows[2]["entropies_eV_per_K"] == pytest.approx(bulk_value, abs=0.05 * kB)
    if mesh == "gamma":
        figure = tmp_path / "states.svg"
        done = vibent("entropy", folder / "crystal.yaml", "--plot", figure, "--sites", 5)
        assert "infinite" in done.out
        assert figure.stat().st_size > 1000


def test_labels_of_files(copper_files, vibent, tmp_path):
    folder, crystal, vacancy, stored = copper_files
    files = "--hessian", folder / "vacancy.yaml", "--reference-hessian", folder / "crystal.yaml"
    line = "label", *files, "-o", tmp_path / "labels.xyz", "-j", 1
    done = vibent(*line)
    assert done.code == 0, done.err
    assert "2 labelled" in done.out
    assert "2 found there already" in vibent(*line).out
    whole, defect = read_labels(tmp_path / "labels.xyz")
    assert defect.info["vibent_reference"] == whole.info["vibent_name"]
    assert "vibent_displacement" not in defect.info
    exact = HessianEntropyCalculator(hessian=stored)
    for frame, atoms in ((whole, crystal), (defect, vacancy)):
        expected = exact.vibrations(atoms, [300]).entropies[0]
        assert frame.info["vibent_entropy"] == pytest.approx(expected, abs=1e-6 * kB)
        assert len(frame.arrays["vibent_entropies"]) == len(atoms)
    assert np.ptp(whole.arrays["vibent_bulk_entropies"]) < 1e-8
    refused = vibent(*line, "--labels", "gradient")
    assert refused.code == 1
    assert "without the label" in refused.err


def test_labels_with_derivatives_take_a_calculator_as_well(copper_files, vibent, tmp_path):
    folder, _, vacancy, stored = copper_files
    line = "label", "--hessian", folder / "vacancy.yaml", "-o", tmp_path / "labels.xyz", "-j", 1
    alone = vibent(*line, "--labels", "gradient")
    assert alone.code == 1
    assert "pass a calculator beside the Hessian" in alone.err
    assert "Traceback" not in alone.err
    done = vibent(*line, "--labels", "gradient", "--calculator", "emt")
    assert done.code == 0, done.err
    (frame,) = read_labels(tmp_path / "labels.xyz")
    exact = HessianEntropyCalculator(EMT(), hessian=stored)
    expected = exact.get_property("entropy_gradient", vacancy)
    assert frame.arrays["vibent_entropy_gradient"] == pytest.approx(expected, abs=5e-4 * kB)
    assert np.abs(expected).max() > kB


def test_rate_from_two_files(copper_jump, vibent, tmp_path, strict_json):
    minimum, saddle = copper_jump[0], copper_jump[3]
    names = []
    for name, atoms in (("minimum", minimum), ("saddle", saddle)):
        bare = atoms.copy()
        hessian = compute_hessian(bare, EMT())
        VibrationsData.from_2d(bare, hessian).write(tmp_path / f"{name}.json")
        names.append(tmp_path / f"{name}.json")
    done = vibent("rate", "--hessian", *names, "-T", 300, "--json")
    assert done.code == 0, done.err
    found = strict_json(done.out)
    assert found["barrier_eV"] is None
    expected = transition_rate(minimum, saddle, HessianEntropyCalculator(EMT()), fmax=0.1)
    assert found["attempt_frequencies_Hz"] == pytest.approx(expected.attempt_frequencies, rel=1e-5)
    table = vibent("rate", "--hessian", *names).out
    assert "barrier unknown" in table
    assert "nan" not in table
    turned = vibent("rate", "--hessian", *names[::-1])
    assert turned.code == 1
    assert "minimum: it is none" in turned.err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("formation --hessian vacancy.yaml", "give the perfect crystal"),
        ("formation --reference crystal.traj --calculator emt", "give files, or --hessian"),
        ("formation vacancy.traj --reference crystal.traj", "or --hessian"),
        ("formation --hessian vacancy.yaml --reference crystal.traj", "or the crystal's Hessian"),
        (
            "formation crystal.traj --hessian vacancy.yaml --reference crystal.traj",
            "it is of 31 atoms",
        ),
        (
            "formation vacancy.traj --hessian vacancy.yaml crystal.yaml --reference crystal.traj",
            "2 files for 1 structures",
        ),
        (
            "formation --hessian vacancy.yaml --reference-hessian crystal.yaml --model cu-emt",
            "both give entropies",
        ),
        ("label -o out.xyz", "give one of them, or both"),
        ("label vacancy.traj -o out.xyz", "give one of them, or both"),
        ("label --calculator emt -o out.xyz", "give files, or --hessian"),
        ("label --hessian none.yaml -o out.xyz", "no such file"),
        ("label --hessian vacancy.yaml -o out.xyz --check-size", "needs --calculator"),
        ("label --hessian crystal.traj -o out.xyz", "not recognised"),
        ("rate vacancy.traj --calculator emt", "give both files"),
        ("rate --hessian vacancy.yaml crystal.yaml", "expected the atoms of the first"),
        ("entropy vacancy.yaml --units furlong", "expected one of eV/A^2"),
        ("entropy vacancy.yaml --born none", "no such file"),
        ("entropy vacancy.yaml --structure crystal.traj", "it is of 31 atoms"),
        ("entropy vacancy.yaml --sites 3", "add --plot"),
        ("entropy vacancy.yaml --plot dos.png --sites 31", "expected indices from 0 to 30"),
        ("entropy vacancy.yaml --unstable 2", "expected 2 unstable modes"),
    ],
)
def test_mistakes_end_in_a_sentence(copper_files, vibent, monkeypatch, tmp_path, line, sentence):
    monkeypatch.chdir(tmp_path)
    for path in copper_files[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    done = vibent(*line.split())
    assert done.code == 1
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert len([text for text in done.err.splitlines() if text.startswith("vibent ")]) == 1
