"""Labels of single structures, their perfect crystals, and their files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from ase_vibent import HessianEntropyCalculator, attach_labels, dataset, read_labels, write_labels
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.hessian import compute_hessian
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.structures.cells import match_references


def small_cell(seed: int) -> Atoms:
    """Four copper atoms near their sites, tagged by the seed."""
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    atoms.rattle(0.02, seed=seed)
    atoms.set_tags(seed)
    return atoms


# --- One structure --------------------------------------------------------------------------


@pytest.mark.parametrize(("mesh", "n_modes"), [("auto", 24 - 1), ("gamma", 24 - 3 - 1)])
def test_a_path_counts_its_direction(sw, mesh, n_modes):
    """As an unstable mode."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    exact = HessianEntropyCalculator(sw, mesh=mesh)
    found = attach_labels(atoms, exact, tangent=np.eye(8, 3), labels=["total"])
    assert found.info[dataset.N_UNSTABLE] == 1
    assert found.info[dataset.N_MODES] == n_modes


@pytest.mark.parametrize(("mesh", "lacking"), [("auto", 0), ("gamma", 3)])
def test_attach_labels_writes_the_documented_labels_and_nothing_else(sw, mesh, lacking):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(0.02, seed=1)
    atoms.info["comment"], atoms.calc = "mine", EMT()
    before = atoms.copy()
    reference = HessianEntropyCalculator(sw, temperature=900, mesh=mesh)
    labelled = attach_labels(
        atoms, reference, reference="si", labels=["gradient", "strain", "sites"]
    )
    assert isinstance(atoms.calc, EMT)
    assert atoms == before
    assert atoms.info == before.info
    assert atoms.arrays.keys() == before.arrays.keys()
    assert labelled.calc is None
    new_info = {"entropy", "entropy_errors", "entropy_strain", "n_modes", "n_unstable", "reference"}
    new_info |= {"displacement", "symmetry", "method"}
    new_info |= {"mesh", "guessed_share"} if mesh == "auto" else set()
    assert labelled.info.keys() - before.info.keys() == {f"vibent_{k}" for k in new_info}
    new_arrays = {"entropies", "site_modes", "entropy_gradient"}
    assert labelled.arrays.keys() - before.arrays.keys() == {f"vibent_{k}" for k in new_arrays}
    # Labels belong to 300 K, whatever the temperature of the calculator.
    judge = HessianEntropyCalculator(sw, temperature=300, mesh=mesh)
    for name, label in (
        ("entropy", labelled.info["vibent_entropy"]),
        ("entropies", labelled.arrays["vibent_entropies"]),  # one species: decompositions agree
        ("entropy_gradient", labelled.arrays["vibent_entropy_gradient"]),
        ("entropy_strain", labelled.info["vibent_entropy_strain"]),
    ):
        expected = judge.get_property(name, atoms)
        # Cholesky or eigenvalues: 1e-12; gradients divide force differences by 0.01 Å: 1e-9.
        np.testing.assert_allclose(label, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert labelled.info["vibent_n_modes"] == 3 * len(atoms) - lacking
    assert labelled.info["vibent_n_unstable"] == 0
    assert labelled.arrays["vibent_site_modes"].sum() == pytest.approx(3 * len(atoms) - lacking)


def test_perfect_crystal_is_its_own_reference_with_bulk_values(silicon_frames):
    crystal = silicon_frames[0]
    assert crystal.info["vibent_name"] == crystal.info["vibent_reference"] == "si16"
    values = crystal.arrays["vibent_bulk_entropies"]
    # All sites of diamond are equivalent.
    np.testing.assert_allclose(values, values.mean(), rtol=1e-8)
    assert all("vibent_bulk_entropies" not in atoms.arrays for atoms in silicon_frames[1:])


@pytest.mark.parametrize("text", ["1", "1.5", "-2e3", "nan", "inf", "T", "true", "2 2 1", ""])
@pytest.mark.parametrize("argument", ["name", "reference"])
def test_names_that_readers_would_not_keep_as_text_are_refused(text, argument):
    with pytest.raises(InvalidInputError, match=argument):
        attach_labels(small_cell(0), HessianEntropyCalculator(EMT()), **{argument: text})


def test_a_crystal_has_no_other_reference():
    with pytest.raises(InvalidInputError, match="reference"):
        attach_labels(small_cell(0), HessianEntropyCalculator(EMT()), name="a", reference="b")


def test_labels_are_asked_for_by_name():
    atoms, exact = small_cell(0), HessianEntropyCalculator(EMT(), mesh="gamma")
    for wrong, got in ((["gradient", "site"], "'site'"), ("sites", "'sites'")):
        for ask in (partial(attach_labels, atoms, exact), partial(LabelTask, atoms)):
            with pytest.raises(InvalidInputError, match=rf"labels: .*moments.*got {got}"):
                ask(labels=wrong)
    with pytest.raises(InvalidInputError, match=r"force_constant_atoms: .*add"):
        attach_labels(atoms, exact, force_constant_atoms=[0])
    plain = attach_labels(atoms, exact, labels=["total"])
    assert {dataset.SITES, dataset.GRADIENT}.isdisjoint(plain.arrays)
    usual = attach_labels(atoms, exact)
    ours = LabelTask(atoms, mesh="gamma").run(EMT())
    assert usual.arrays.keys() == ours.arrays.keys() > plain.arrays.keys()


# --- References -----------------------------------------------------------------------------


def test_references_are_repeated_into_the_cells_of_the_structures():
    unit = bulk("Cu", "fcc", a=3.59, cubic=True)
    vacancies = [unit * (2, 1, 1), unit * (1, 1, 3), unit * (2, 1, 1)]
    for atoms in vacancies:
        del atoms[0]
    crystals = match_references(vacancies, [bulk("Cu", a=3.59), unit])
    assert [len(crystal) for crystal in crystals] == [8, 12, 8]
    assert crystals[0] is crystals[2]
    for crystal, atoms in zip(crystals, vacancies, strict=True):
        np.testing.assert_allclose(crystal.cell.array, atoms.cell.array, atol=1e-12)
        # Every atom of the vacancy cell sits on a site of its crystal.
        for position in atoms.positions:
            assert np.linalg.norm(crystal.positions - position, axis=1).min() < 1e-9


@pytest.mark.parametrize("strain", [1.001, 0.999, (1.001, 1, 1)])
def test_reference_at_another_strain_is_refused(strain):
    unit = bulk("Cu", "fcc", a=3.59, cubic=True)
    strained = unit * (2, 2, 2)
    strained.set_cell(strained.cell.array * np.reshape(strain, (-1, 1)), scale_atoms=True)
    with pytest.raises(LabelError, match=r"structure 1: .*strain"):
        match_references([unit, strained], [unit])


# --- Files ----------------------------------------------------------------------------------


def test_complete_frames_of_text_cut_off_anywhere(tmp_path):
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    frames = [attach_labels(small_cell(seed), exact) for seed in range(3)]
    texts = [dataset.format_frame(atoms) for atoms in frames]
    whole = "".join(texts)
    ends = np.cumsum([0, *map(len, texts)])
    path = tmp_path / "labels.xyz"
    for cut in range(len(whole) + 1):
        count = int(np.sum(ends <= cut)) - 1
        assert dataset.complete_frames(whole[:cut]) == (whole[: ends[count]], count)
    for cut in (ends[1] + 1, ends[2] - 1, ends[2], len(whole) - 1):
        path.write_text(whole[:cut], encoding="utf-8")
        assert len(read_labels(path)) == np.sum(ends <= cut) - 1


@pytest.mark.parametrize(
    "text", ["", "4\nProperties", "some notes\n", "2\nx\nCu a b c\nCu 1 1 1\n"]
)
def test_reading_what_holds_no_label_is_one_clear_error(tmp_path, text):
    path = tmp_path / "labels.xyz"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=r"labels\.xyz"):
        read_labels(path)


def test_reading_what_is_no_file(tmp_path):
    for path in (tmp_path / "missing.xyz", tmp_path):
        with pytest.raises(LabelError, match="cannot read"):
            read_labels(path)


@pytest.mark.parametrize("reader", [read_labels, lambda path: ase.io.read(path, index=":")])
def test_labels_round_trip_with_full_precision(silicon, reader, tmp_path):
    rng = np.random.default_rng(8)
    n = len(silicon)
    silicon.rattle(0.1, seed=8)
    silicon.set_cell(silicon.cell.array + rng.uniform(-0.1, 0.1, (3, 3)))
    silicon.set_masses(rng.uniform(20, 40, n))
    silicon.set_initial_magnetic_moments(rng.normal(size=n))
    silicon.set_constraint([FixAtoms([0, 2]), FixAtoms([5])])
    silicon.pbc = [True, False, True]
    silicon.arrays["vibent_entropies"] = rng.normal(size=n) * 1e-9
    silicon.arrays["vibent_entropy_gradient"] = rng.normal(size=(n, 3)) * 1e-9
    silicon.info["vibent_entropy"] = float(rng.normal() * 1e-3)
    silicon.info["vibent_entropy_strain"] = rng.normal(size=(3, 3)) * 1e-9
    silicon.info["vibent_reference"] = "si-2x1x1"
    cluster = Atoms("Si3", positions=rng.normal(size=(3, 3)))
    cluster.info["vibent_entropy"] = 0.1 + 0.2
    path = Path(tmp_path / "labels.xyz")
    write_labels(path, [silicon])
    write_labels(path, [cluster], append=True)
    back, lone = reader(path)
    names = ["numbers", "positions", "masses", "initial_magmoms"]
    for name in [*names, "vibent_entropies", "vibent_entropy_gradient"]:
        np.testing.assert_allclose(back.arrays[name], silicon.arrays[name], rtol=1e-12)
    for name in ("vibent_entropy", "vibent_entropy_strain"):
        np.testing.assert_allclose(back.info[name], silicon.info[name], rtol=1e-12)
    np.testing.assert_allclose(back.cell.array, silicon.cell.array, rtol=1e-12)
    assert back.info["vibent_reference"] == "si-2x1x1"
    assert back.pbc.tolist() == [True, False, True]
    assert sorted(back.constraints[0].index) == [0, 2, 5]
    assert lone.info["vibent_entropy"] == pytest.approx(0.3, rel=1e-12)
    assert lone.cell.rank == 0
    assert not lone.pbc.any()


@pytest.mark.parametrize("text", ["two\nlines", "", 'a "quoted" = sign', "form\ffeed", "Å \u2028"])
def test_text_that_a_structure_carries_never_breaks_the_file(tmp_path, text):
    """Comments of CIF files and columns of PDB files, for instance."""
    first, second = small_cell(0), small_cell(1)
    first.info["comment"] = text
    first.arrays["residuenames"] = np.array([text, "A", "B", "C"])
    first.arrays["vibent_entropies"] = np.arange(4.0)  # stands right of the text
    path = tmp_path / "labels.xyz"
    write_labels(path, [first, second])
    assert dataset.complete_frames(path.read_text(encoding="utf-8"))[1] == 2
    back = read_labels(path)
    for atoms, expected in zip(back, (first, second), strict=True):
        np.testing.assert_allclose(atoms.positions, expected.positions, rtol=1e-12)
    assert back[0].arrays["vibent_entropies"].tolist() == [0, 1, 2, 3]


def test_labels_of_soft_modes_are_the_lowest_eigenvalues(rattle):
    """At Γ, without the three translations, whatever the mesh of the entropy."""
    atoms = rattle(bulk("Si", "diamond", a=5.431, cubic=True), 0.1, 3)
    calculator = stillinger_weber_silicon()
    values = np.linalg.eigvalsh(compute_hessian(atoms, calculator))
    exact = HessianEntropyCalculator(calculator, unstable="any")
    labelled = attach_labels(atoms, exact, labels=["soft_modes"])
    np.testing.assert_allclose(labelled.info[dataset.SOFT_EIGENVALUES], values[3:15], rtol=1e-6)
