"""Neighbour lists: complete, compact, and used again only while they are complete."""

import pickle

import numpy as np
import pytest
import vesin
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent import ACE
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.neighbours import cell_list, lists
from ase_vibent.neighbours.lists import NeighbourLists, find_neighbours

SPECIES = ["Si", "C"]


def pairs_of(found, atoms, cutoff):
    """Centre, neighbour and vector of every pair within the cutoff, in a fixed order."""
    points, rows = found.points(atoms), []
    for chunk in found.chunks:
        for i, centre in enumerate(chunk.centres):
            for z in range(len(found.neighbours)):
                own = chunk.candidates[chunk.offsets[i, z] : chunk.offsets[i, z + 1]]
                assert np.all(found.centre_types[own] == z)
                vectors = points[own, :3] - points[centre, :3]
                for j, vector in zip(found.owners[own], vectors, strict=True):
                    if np.linalg.norm(vector) < cutoff:
                        rows.append((found.owners[centre], j, *vector))
    return in_order(rows)


def in_order(rows):
    rows = np.array(rows, dtype=float).reshape(-1, 5)
    return rows[np.lexsort(rows.round(6).T[::-1])]


def expected_pairs(atoms, cutoff):
    i, j, vectors = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
        points=atoms.positions, box=atoms.cell.complete().array, periodic=atoms.pbc.copy(),
        quantities="ijD",
    )  # fmt: skip
    return in_order(np.column_stack([i, j, vectors]))


@given(
    seed=st.integers(0, 10**6),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    count=st.integers(1, 30),
    cutoff=st.floats(1.0, 6.0),
    skin=st.sampled_from([0.0, 0.7]),
)
@settings(max_examples=60, deadline=None)
def test_same_pairs_as_vesin(seed, pbc, count, cutoff, skin):
    """Any cell, thin or sheared, any periodicity, atoms inside and outside of the cell."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(1.5, 8.0, size=3)) + rng.uniform(-1.0, 1.0, size=(3, 3))
    positions = rng.uniform(-1.0, 2.0, size=(count, 3)) @ cell
    atoms = Atoms(rng.choice(SPECIES, count), positions=positions, cell=cell, pbc=pbc)
    found = find_neighbours(atoms, SPECIES, cutoff, skin)
    expected = expected_pairs(atoms, cutoff)
    np.testing.assert_allclose(pairs_of(found, atoms, cutoff), expected, atol=1e-9)
    centres = np.concatenate([chunk.centres for chunk in found.chunks])
    assert sorted(found.owners[centres]) == list(range(count))


def test_blocks_hold_one_species_and_chunks_every_point_they_touch(rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True) * (5, 5, 5), 0.2, seed=3)
    found = find_neighbours(atoms, SPECIES, 4.0)
    assert len(found.chunks) > 1
    for chunk in found.chunks:
        assert chunk.blocks[0] == 0
        assert chunk.blocks[-1] == len(chunk.centres)
        for start, stop in zip(chunk.blocks[:-1], chunk.blocks[1:], strict=True):
            assert 0 < stop - start <= 8
            assert len(set(found.centre_types[chunk.centres[start:stop]])) == 1
        touched = np.concatenate([chunk.centres, chunk.candidates])
        assert (chunk.first, chunk.last) == (touched.min(), touched.max() + 1)
        assert chunk.most == np.diff(chunk.offsets[:, [0, -1]]).max()


def test_memory_is_a_few_hundred_bytes_per_atom():
    atoms = bulk("Fe", "bcc", a=2.86, cubic=True) * (12, 12, 12)
    found = find_neighbours(atoms, ["Fe"], 5.0, 0.4)
    stored = sum(
        array.nbytes for chunk in found.chunks for array in chunk if isinstance(array, np.ndarray)
    )
    stored += found.owners.nbytes + found.shifts.nbytes + found.centre_types.nbytes
    # 58 candidates of 4 bytes, and here as many images as atoms.
    assert stored < 600 * len(atoms)


def test_far_apart_atoms_do_not_need_a_bin_for_every_empty_place():
    atoms = Atoms("Si4", positions=[[0, 0, 0], [2, 0, 0], [1e5, 1e5, 1e5], [1e5, 1e5, 1e5 + 2]])
    found = find_neighbours(atoms, SPECIES, 4.0)
    np.testing.assert_allclose(pairs_of(found, atoms, 4.0), expected_pairs(atoms, 4.0), atol=1e-9)


def test_a_kept_list_is_used_until_an_atom_has_moved_by_half_the_skin(monkeypatch, rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.2, seed=0)
    lists = NeighbourLists(skin=0.6)
    first = lists.find(atoms, SPECIES, 4.0)
    atoms.positions[3, 1] += 0.29
    assert lists.find(atoms, SPECIES, 4.0) is first
    atoms.positions[3, 1] += 0.02
    second = lists.find(atoms, SPECIES, 4.0)
    assert second is not first
    for change in (
        lambda a: a.set_cell(a.cell.array * 1.0001),
        lambda a: a.set_pbc((True, True, False)),
        lambda a: a.symbols.__setitem__(0, "C"),
        lambda a: a.__delitem__(0),
    ):
        changed = atoms.copy()
        change(changed)
        assert not second.serves(changed)
    # Another cutoff or order of species is another list.
    assert lists.find(atoms, SPECIES, 3.9) is not second
    assert lists.find(atoms, SPECIES[::-1], 4.0) is not second
    assert lists.find(atoms, SPECIES, 4.0) is second


def test_the_skin_does_not_show_in_the_results(rattle):
    """A walk with a kept list, whose steps and wraps pass its limit several times."""
    ace = ACE(SPECIES, cutoff=4.0, order=2, degree=7)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, ace.n_features))
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.1, seed=1)
    lists, used = NeighbourLists(skin=0.4), set()
    for step in range(25):
        atoms.positions += rng.uniform(-0.05, 0.05, size=atoms.positions.shape)
        if step % 10 == 9:
            atoms.wrap()
        kept = ace.linear_model(atoms, weights, lists=lists)
        fresh = ace.linear_model(atoms, weights)
        used.add(id(lists.find(atoms, SPECIES, 4.0)))
        np.testing.assert_allclose(kept.values, fresh.values, rtol=1e-11)
        # Other orders of summation only.
        size = np.abs(fresh.gradient).max()
        np.testing.assert_allclose(kept.gradient, fresh.gradient, atol=1e-11 * size)
        np.testing.assert_allclose(kept.strain, fresh.strain, atol=1e-10 * size)
    assert 1 < len(used) < 25


def test_one_store_serves_images_in_turn_and_forgets_the_oldest(rattle):
    images = [rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 1.0, seed=k) for k in range(4)]
    lists = NeighbourLists(skin=0.4)
    first = [lists.find(image, SPECIES, 4.0) for image in images]
    assert [lists.find(image, SPECIES, 4.0) for image in images] == first
    small = NeighbourLists(skin=0.4, most_points=10)
    kept = small.find(images[0], SPECIES, 4.0)
    small.find(images[1], SPECIES, 4.0)
    assert small.find(images[0], SPECIES, 4.0) is not kept


def test_copies_start_without_neighbours():
    lists = NeighbourLists(skin=0.3, most_lists=5, most_points=77)
    lists.find(bulk("SiC", "zincblende", a=4.36), SPECIES, 4.0)
    copy = pickle.loads(pickle.dumps(lists))
    assert (copy.skin, copy.most_lists, copy.most_points, copy._lists) == (0.3, 5, 77, [])


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_chunks_of_any_size_give_the_same_sums(size, monkeypatch, rattle):
    ace = ACE(SPECIES, cutoff=4.0, order=2, degree=7)
    weights = np.random.default_rng(2).normal(size=(2, ace.n_features))
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True) * (2, 1, 1), 0.3, seed=4)
    whole = ace.linear_model(atoms, weights)
    monkeypatch.setattr(lists, "MOST_CHUNKS", 10**6)
    monkeypatch.setattr(lists, "SMALLEST_CHUNK", size)
    parts = ace.linear_model(atoms, weights)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-12)
    size = np.abs(whole.gradient).max()
    np.testing.assert_allclose(parts.gradient, whole.gradient, atol=1e-12 * size)
    np.testing.assert_allclose(parts.strain, whole.strain, atol=1e-11 * size)


def test_lists_are_few_and_the_one_used_last_stays(rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.1, seed=0)
    lists = NeighbourLists(most_lists=3)
    kept = lists.find(atoms, SPECIES, 4.0)
    for k in range(1, 8):
        other = atoms.copy()
        other.set_cell(atoms.cell.array * (1 + 0.01 * k), scale_atoms=True)
        lists.find(other, SPECIES, 4.0)
        assert lists.find(atoms, SPECIES, 4.0) is kept
        assert len(lists._lists) <= 3
    with pytest.raises(InvalidInputError, match="skin"):
        NeighbourLists(skin=-0.1)


@pytest.mark.parametrize("pbc", [(False, False, False), (False, False, True), (True, False, True)])
def test_vectors_along_directions_that_are_not_periodic_do_not_matter(pbc):
    positions = [[0, 0, 0], [0, 0.5, 2.0]]
    plain = Atoms("SiC", positions=positions, cell=[5, 5, 5], pbc=pbc)
    odd = plain.copy()
    odd.set_cell([[5, 0, 0], [5, 1e-4, 0], [0, 0, 5]])
    found = find_neighbours(odd, SPECIES, 4.0)
    np.testing.assert_allclose(
        pairs_of(found, odd, 4.0), pairs_of(find_neighbours(plain, SPECIES, 4.0), plain, 4.0)
    )
    assert len(found.owners) < 40


def test_an_atom_far_away_does_not_coarsen_the_bins(rattle):
    cluster = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True) * (4, 4, 4), 0.2, seed=5)
    cluster.pbc = False
    far = cluster + Atoms("SiC", positions=[[1e4, -1e4, 30.0], [1e4, -1e4, 32.0]])
    found = find_neighbours(far, SPECIES, 4.0)
    np.testing.assert_allclose(pairs_of(found, far, 4.0), expected_pairs(far, 4.0), atol=1e-9)
    points = found.points(far)
    _, edges, _ = cell_list.grid(points, 4.0)
    assert edges.max() < 8.0
    with pytest.raises(InvalidStructureError, match="coordinates"):
        find_neighbours(Atoms("Si2", positions=[[-1e308, 0, 0], [1e308, 0, 0]]), SPECIES, 4.0)


def test_some_centres():
    """Of the first atoms alone: the same neighbours, and no complaint of an atom without any."""
    crystal = bulk("Fe", cubic=True) * 3
    crystal.rattle(0.1, seed=0)
    whole, part = (
        pairs_of(find_neighbours(crystal, ["Fe"], 4.0, n_centres=n), crystal, 4.0)
        for n in (None, 20)
    )
    np.testing.assert_array_equal(part, whole[whole[:, 0] < 20])
    lone = Atoms("Fe2", positions=[[0, 0, 0], [9, 0, 0]])
    find_neighbours(lone, ["Fe"], 4.0, n_centres=2).check_distances(np.empty(0), np.inf)
