"""The reader of label files: altered files are refused or read as they were, never otherwise."""

from __future__ import annotations

import io

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent import dataset, read_labels, write_labels
from ase_vibent.errors import CutRecordWarning, LabelError
from ase_vibent.runs.records import Frames, read_finished
from ase_vibent.training.training_set import TrainingSet


def frame(seed: int, n_atoms: int = 3) -> Atoms:
    """Numbers of no meaning under the names of labels."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(f"Cu{n_atoms}", rng.uniform(0, 5, (n_atoms, 3)), cell=[5, 5, 5], pbc=True)
    atoms.info |= {dataset.ENTROPY: float(rng.normal()), dataset.CALCULATOR: "emt"}
    atoms.info |= {dataset.N_MODES: 3 * n_atoms - 3, dataset.N_UNSTABLE: 0}
    atoms.info |= {dataset.ERRORS: np.array([0.1, np.nan, -0.1]), dataset.STRAIN: np.eye(3)}
    atoms.arrays[dataset.GRADIENT] = rng.normal(size=(n_atoms, 3))
    atoms.arrays[dataset.SITES] = rng.normal(size=n_atoms)
    return atoms


FRAMES = [frame(seed, n_atoms) for seed, n_atoms in enumerate((3, 12, 1, 3, 4))]
TEXTS = [dataset.format_frame(atoms) for atoms in FRAMES]
WHOLE = "".join(TEXTS)
ENDS = np.cumsum([0, *map(len, TEXTS)])
RECORDS: Frames[Atoms] = Frames("emt", lambda frames, path: frames)


def assert_same(found: list[Atoms]) -> None:
    """The first frames, unchanged."""
    for atoms, expected in zip(found, FRAMES, strict=False):
        np.testing.assert_allclose(atoms.positions, expected.positions, rtol=1e-15)
        for name in (dataset.GRADIENT, dataset.SITES):
            np.testing.assert_array_equal(atoms.arrays[name], expected.arrays[name])
        for name, value in expected.info.items():
            np.testing.assert_array_equal(atoms.info[name], value)


def frames_of(text: str) -> list[Atoms] | None:
    """Frames of a text, or None if it is refused."""
    try:
        return dataset.parse_frames(dataset.complete_frames(text)[0])
    except ValueError:
        return None


positions = st.integers(0, len(WHOLE) - 1)
pieces = st.text(st.sampled_from('0123456789.-e \nCuTF=:"XÅ\r\0'), max_size=6)


@settings(max_examples=150, deadline=None)
@given(positions, st.integers(0, 60), pieces)
def test_altered_files_are_refused_or_read_as_they_were(start, length, piece):
    altered = WHOLE[:start] + piece + WHOLE[start + length :]
    found = frames_of(altered)
    if found is not None:
        assert len(found) >= (len(FRAMES) - 1 if altered != WHOLE[:start] else 0)
        assert_same(found)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(FRAMES) - 1), st.text(st.sampled_from("0123456789 x\n"), max_size=4))
def test_damaged_counts_swallow_no_frame(number, count):
    """At most the last frame may pass for unfinished."""
    altered = TEXTS[number].split("\n", 1)[1]
    text = "".join([*TEXTS[:number], f"{count}\n{altered}", *TEXTS[number + 1 :]])
    found = frames_of(text)
    if found is not None:
        assert len(found) == len(FRAMES) or (number == len(found) == len(FRAMES) - 1)
        assert_same(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, len(WHOLE)))
def test_files_that_are_cut_off_lose_the_unfinished_frame_only(cut):
    found = frames_of(WHOLE[:cut])
    assert found is not None
    assert len(found) == np.sum(cut >= ENDS) - 1
    assert_same(found)


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_a_whole_frame_of_a_larger_count_is_not_unfinished(number):
    """The checksum knows better."""
    atoms = len(FRAMES[number])
    text = "".join(TEXTS[:number]) + TEXTS[number].replace(f"{atoms}\n", f"{atoms + 5}\n", 1)
    with pytest.raises(ValueError, match=f"the frame has {atoms}; correct"):
        dataset.complete_frames(text)


def test_what_a_resumed_run_cuts_off_is_kept(tmp_path):
    path = tmp_path / "labels.xyz"
    for cut in (ENDS[4] + 40, ENDS[3] + 1):  # twice: nothing is overwritten
        path.write_text(WHOLE[:cut], encoding="utf-8")
        with pytest.warns(CutRecordWarning, match=r"labels\.xyz\.cut"):
            found = read_finished(path, RECORDS)
        assert_same(found)
    kept = (tmp_path / "labels.xyz.cut").read_text(encoding="utf-8")
    assert kept == WHOLE[ENDS[4] : ENDS[4] + 40] + WHOLE[ENDS[3] : ENDS[3] + 1]
    path.write_text(WHOLE.replace("12\n", "92\n", 1), encoding="utf-8")
    with pytest.raises(LabelError, match="begins another"):
        read_finished(path, RECORDS)
    assert path.read_text(encoding="utf-8") == WHOLE.replace("12\n", "92\n", 1)


# --- Files of other hands ---------------------------------------------------------------------


def test_files_of_ase_need_no_checksum(tmp_path):
    path = tmp_path / "labels.xyz"
    ase.io.write(path, FRAMES)
    assert dataset.CHECKSUM not in path.read_text(encoding="utf-8")
    assert [len(atoms) for atoms in read_labels(path)] == [len(atoms) for atoms in FRAMES]


def test_one_who_changes_a_file_writes_it_again(tmp_path):
    path = tmp_path / "labels.xyz"
    write_labels(path, FRAMES)
    frames = ase.io.read(path, index=":")
    frames[1].info[dataset.WEIGHT] = 2.0
    path.write_text(
        WHOLE.replace("vibent_n_unstable=0", "vibent_n_unstable=1", 1), encoding="utf-8"
    )
    with pytest.raises(LabelError, match=r"line 1 was altered.*write_labels"):
        read_labels(path)
    path.write_text(
        "".join([TEXTS[0], *(t.replace(" vibent_checksum", " mine") for t in TEXTS)]),
        encoding="utf-8",
    )
    with pytest.raises(LabelError, match=r"frame 1 has no vibent_checksum.*write_labels"):
        read_labels(path)
    write_labels(path, frames)
    back = read_labels(path)
    assert back[1].info[dataset.WEIGHT] == 2.0
    assert all(dataset.CHECKSUM not in atoms.info for atoms in back)


WRONG = {
    dataset.ENTROPY: (np.nan, np.inf, "much", [1.0, 2.0]),
    dataset.N_MODES: (-1, 10, np.nan, "all", [9]),
    dataset.N_UNSTABLE: (-1, 10, "none"),
    dataset.ERRORS: (np.zeros(2), "small", np.full(3, np.inf)),
    dataset.STRAIN: (np.zeros(6), np.full((3, 3), np.nan), "none"),
    dataset.BULK_STRAIN: (np.zeros(3),),
    dataset.MESH: ([2, 2], [2, 2, 0], [1.5, 1, 1], "fine"),
    dataset.GUESSED: (-0.1, 1.1, np.nan),
    dataset.ENERGY: (np.nan, "low"),
    dataset.ENERGY_STRAIN: (np.zeros(6), np.full((3, 3), np.inf)),
    dataset.WEIGHT: (0.0, -1.0, np.nan, "heavy"),
    dataset.SIZE_CHECK: ("maybe", 2),
    dataset.DISPLACEMENT: (0.0, "small"),
    dataset.DISPLACED: ([3], [-1], [0, 0], [0.5], []),
}
WRONG_ARRAYS = {
    dataset.SITES: (np.full(3, np.nan), np.array(["a", "b", "c"]), np.zeros((3, 2))),
    dataset.SITE_MODES: (np.array([1, np.inf, 1]),),
    dataset.BULK: (np.full(3, np.nan), np.zeros((3, 3))),
    dataset.GRADIENT: (np.zeros(3), np.full((3, 3), np.nan), np.zeros((3, 2))),
    dataset.SITE_GRADIENTS: (np.zeros((3, 3)), np.full((3, 9), np.nan)),
    dataset.MOMENTS: (np.full((3, 3), np.inf),),
    dataset.FORCES: (np.zeros((3, 2)), np.full((3, 3), np.nan)),
    dataset.FORCE_CONSTANTS: (np.zeros((3, 9)),),
    "masses": (np.zeros(3), np.array([1, -1, 1.0]), np.full(3, np.nan)),
    "positions": (np.full((3, 3), np.nan),),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_values_that_no_label_has(name, value):
    atoms = FRAMES[0].copy()
    atoms.info[name] = value
    with pytest.raises(LabelError, match=rf"frame 0: {name}"):
        dataset.check_frame(atoms, 0)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_ARRAYS.items() for value in values]
)
def test_arrays_that_no_label_has(name, value, tmp_path):
    atoms = FRAMES[0].copy()
    atoms.arrays[name] = value
    with pytest.raises(LabelError, match=rf"frame 0: {name}: expected .*number"):
        TrainingSet.of([atoms])
    write_labels(tmp_path / "labels.xyz", [atoms])
    with pytest.raises(LabelError, match=r"labels\.xyz"):
        read_labels(tmp_path / "labels.xyz")


@pytest.mark.parametrize("suffix", ["xyz", "traj"])
def test_energies_that_are_none(tmp_path, suffix):
    """Results of calculators, as rates are made of."""
    path = tmp_path / f"labels.{suffix}"
    atoms = FRAMES[0].copy()
    atoms.calc = SinglePointCalculator(atoms, energy=np.nan)
    stream = path if suffix == "traj" else io.StringIO()
    ase.io.write(stream, [atoms], format="traj" if suffix == "traj" else "extxyz")
    if suffix == "xyz":
        path.write_text(stream.getvalue(), encoding="utf-8")
    with pytest.raises(LabelError, match=r"energy: expected a finite number, got nan"):
        read_labels(path)


def test_more_modes_than_atoms_have():
    atoms = FRAMES[0].copy()
    atoms.info |= {dataset.N_MODES: 8, dataset.N_UNSTABLE: 2}
    with pytest.raises(LabelError, match="more than 3 atoms have"):
        TrainingSet.of([atoms])
