"""Locality of site entropies and truncated site entropies."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.cluster import Octahedron
from ase.units import kB

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import (
    LatticeModel,
    cscl_lattice,
    diatomic_chain,
    pair_lattice,
    site_locality,
    truncated_site_entropies,
    two_sublattice_square,
)
from ase_vibent.analysis.locality import SiteLocality, _dimension
from ase_vibent.analysis.power_law import PowerLaw, fit_power_law
from ase_vibent.cli import main
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError


def displace(model, amplitude=0.1, seed=1):
    return model.displace(np.random.default_rng(seed).normal(0, amplitude, len(model.sites)))


def contour(model, **options):
    """At Γ, which alone has gradients of sites without diagonalisation."""
    return HessianEntropyCalculator(
        model, engine="contour", tolerance=1e-10, mesh="gamma", **options
    )


@pytest.mark.parametrize(
    ("model", "sites", "expected", "tolerance"),
    [
        # Random displacements scatter the envelope: standard errors of 0.05 in one dimension,
        # of 0.15 in two, where a decade fits into the cell no more.
        (lambda: pair_lattice(400, 1, delta=0.0), [200], 2, 0.2),
        (lambda: pair_lattice(400, 1, delta=0.5), [200], 2, 0.2),
        (lambda: diatomic_chain(200, gap=1.0), [200, 201], 2, 0.2),
        (lambda: pair_lattice(27, 2, delta=0.5, impurities=0.1), [364], 4, 0.7),
        (lambda: two_sublattice_square(20, gap=4.0), [420, 421], 4, 0.7),
    ],
    ids=["chain, no cubic term", "chain", "diatomic", "square", "centred"],
)
def test_gradients_decay_with_twice_the_dimension(model, sites, expected, tolerance):
    """[Torabi2024] Theorem 3.1, [Torabi2026] Theorem 15."""
    lattice = model()
    for found in site_locality(displace(lattice), contour(lattice), sites):
        assert found.fit.exponent == pytest.approx(expected, abs=tolerance)
        assert found.dimension == expected / 2
        assert found.fit.exponent_std < tolerance


def test_three_dimensions():
    lattice = cscl_lattice(9)
    atoms = displace(lattice)
    exact = HessianEntropyCalculator(lattice, engine="lanczos", tolerance=1e-10, mesh="gamma")
    found = site_locality(atoms, exact, np.arange(0, 1458, 243), fit_range=(1.4, 3.0))
    # Few shells fit: six sites together have a standard error of 0.4.
    assert np.mean([site.fit.exponent for site in found]) == pytest.approx(6, abs=1)
    assert {site.dimension for site in found} == {3}


def test_magnitudes_are_those_of_the_calculator(sw, rattle):
    atoms = rattle(bulk("Si", "diamond", a=5.431, cubic=True) * 2, 0.1, seed=3)
    exact = HessianEntropyCalculator(sw, mesh="gamma")
    (found,) = site_locality(atoms, exact, [5], fit_range=(2.0, 5.4))
    gradients = exact.get_site_entropy_gradients(atoms, [5])[0] / kB
    np.testing.assert_allclose(found.magnitudes, np.linalg.norm(gradients, axis=1), rtol=1e-6)
    assert found.distances[5] == 0
    assert found.reach == pytest.approx(5.431)


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        # Counts within the reach and half of it say 2, 2 and 1 of the first three.
        (bulk("Cu", cubic=True) * 3, 3),
        (bulk("Fe", cubic=True) * 4, 3),
        (Octahedron("Cu", 9), 3),
        (fcc111("Cu", (12, 12, 2), vacuum=8), 2),
        (pair_lattice(9, 2).sites, 2),
    ],
    ids=["fcc", "bcc", "cluster", "slab", "square"],
)
def test_dimension_is_that_of_the_atoms(atoms, expected):
    distances = atoms.get_distances(0, np.arange(len(atoms)), mic=bool(atoms.pbc.any()))
    reach = atoms.cell.lengths()[:2].min() / 2 if atoms.pbc.any() else distances.max()
    assert _dimension(atoms, 0, reach) == expected


def test_fits_recover_a_power_law():
    r = np.geomspace(2, 30, 9)
    fit = fit_power_law(r, 3 * r**-4)
    assert (fit.prefactor, fit.exponent) == pytest.approx((3, 4), rel=1e-12)
    assert fit.exponent_std < 1e-12
    assert fit_power_law(r[:3], r[:3]) is None
    assert fit_power_law(r, np.zeros(9)) is None


def chain_of(n, exponent=2.0):
    """Sites of a chain at 1, 1, 2, 2, ... Å with an exact power law."""
    distances = np.abs(np.arange(n) - n // 2).astype(float)
    law = PowerLaw(1.0, exponent, 0.0)
    magnitudes = np.where(distances > 0, law(np.maximum(distances, 1)), 1.0)
    return SiteLocality(0, distances, magnitudes, n / 2, 1, (2, n / 3), np.empty((0, 2)), law)


def test_errors_of_cutoffs_are_sums_over_what_is_beyond():
    """Σ over both sides of a chain; a longer chain's sums are the shorter one's extrapolation."""
    short, long = chain_of(200), chain_of(4000)
    cutoffs = np.array([3.0, 10.5, 40.0])
    r = np.arange(1, 100)
    expected = [2 * np.sum(1 / r[r > c] ** 2.0) for c in cutoffs]
    beyond = 2 / 100  # ∫ of 2 r^-2, twice at the end of the shorter chain
    found = short.largest_errors(cutoffs, 1.0) - beyond
    np.testing.assert_allclose(found, expected, atol=2e-4)
    for method in ("largest_errors", "rms_errors"):
        values = [getattr(chain, method)([10.5, 300.0], 0.1) for chain in (short, long)]
        np.testing.assert_allclose(values[0], values[1], rtol=0.01)


@pytest.mark.parametrize("worst", [False, True])
def test_recommended_cutoffs_keep_the_error(worst):
    chain = chain_of(200)
    errors = chain.largest_errors if worst else chain.rms_errors
    for wanted in (1e-2, 3e-3, 1e-5):
        found = chain.recommended_cutoff(wanted, 0.1, worst_case=worst)
        assert errors(found.cutoff, 0.1)[0] <= wanted * (1 + 1e-9)
        assert found.measured == (found.cutoff <= chain.reach)
        if found.measured:
            assert errors(found.cutoff - 1.0, 0.1)[0] > wanted
    with pytest.raises(InvalidInputError, match="decays as"):
        chain_of(200, exponent=0.4).recommended_cutoff(1e-3, 0.1)


def test_truncation_falls_with_the_dimension():
    """[Torabi2024] Theorem 3.2: r_cut^-1 in one dimension; the cell's end steepens it a little."""
    lattice = pair_lattice(400, 1, delta=0.5)
    cutoffs = np.unique(np.geomspace(3, 40, 9).round())
    for smooth in (False, True):
        found = truncated_site_entropies(
            displace(lattice), lattice.sites, contour(lattice), 200, cutoffs, smooth=smooth
        )
        assert found.fit.exponent == pytest.approx(1.1, abs=0.3)
    assert found.amplitude == pytest.approx(0.3, abs=0.05)  # largest of 400 normal ones


@pytest.mark.parametrize("decomposition", ["mass-free", "normalised"])
def test_a_cutoff_around_everything_displaced_is_exact(decomposition):
    lattice = pair_lattice(20, 1, delta=0.5)
    u = np.zeros(20)
    u[7:14] = np.random.default_rng(0).normal(0, 0.1, 7)
    exact = HessianEntropyCalculator(lattice, decomposition=decomposition, crystal=lattice.sites)
    options = (lattice.displace(u), lattice.sites, exact, 10)
    found = truncated_site_entropies(*options, [9.0, 1.5, 3.5])
    np.testing.assert_array_equal(found.cutoffs, [1.5, 3.5, 9.0])
    assert np.all(found.errors[1:] < 1e-12)
    assert found.errors[0] > 1e-4
    assert found.recommended_cutoff(1e-6).cutoff == 3.5
    # Fading begins at half the cutoff.
    assert truncated_site_entropies(*options, [9.0], smooth=True).errors[0] < 1e-12
    assert truncated_site_entropies(*options, [3.5], smooth=True).errors[0] > 1e-5


def test_extrapolated_cutoffs():
    lattice = pair_lattice(100, 1, delta=0.5)
    found = truncated_site_entropies(
        displace(lattice), lattice.sites, contour(lattice), 50, [3, 5, 7, 10, 14]
    )
    far = found.recommended_cutoff(found.errors.min() / 10)
    assert not far.measured
    law = found.amplitude * found.fit(far.cutoff)
    assert law == pytest.approx(found.errors.min() / 10)
    few = truncated_site_entropies(displace(lattice), lattice.sites, contour(lattice), 50, [3, 5])
    with pytest.raises(InvalidInputError, match="no power law"):
        few.recommended_cutoff(1e-9)


def test_a_narrow_cell_is_continued_by_the_theory():
    chain = pair_lattice(10, 1, delta=0.5)
    (site,) = site_locality(displace(chain), contour(chain), [4])
    assert (site.fit.exponent, np.isnan(site.fit.exponent_std)) == (2.0, True)
    outer = (site.distances >= 2.5) & (site.distances <= 5)
    assert np.all(site.magnitudes[outer] <= site.fit(site.distances[outer]) * (1 + 1e-12))
    near = site.recommended_cutoff(0.05, 0.1)
    assert near.measured
    assert near.cutoff <= 5
    assert not site.recommended_cutoff(1e-6, 0.1).measured


def test_what_cannot_be_measured():
    chain = pair_lattice(200, 1)
    exact = contour(chain)
    with pytest.raises(InvalidStructureError, match="too small to say"):
        site_locality(pair_lattice(3, 2).sites, exact, [0])
    with pytest.raises(InvalidStructureError, match="displace the atoms"):
        site_locality(chain.sites, exact, [0])  # no third derivative anywhere
    with pytest.raises(InvalidInputError, match="fit_range"):
        site_locality(displace(chain), exact, [0], fit_range=(3, 150))
    with pytest.raises(InvalidInputError, match="sites"):
        site_locality(displace(chain), exact, [200])
    springs = np.ones(100)
    springs[3] = -0.5
    bonds = np.column_stack([np.arange(100), np.roll(np.arange(100), -1)])
    weak = LatticeModel(pair_lattice(100, 1).sites, bonds, springs, 0.0, 1.0)
    for engine in ("dense", "contour"):
        exact = HessianEntropyCalculator(weak, engine=engine, mesh="gamma")
        with pytest.raises(UnstableStructureError, match="unstable"):
            site_locality(displace(weak, 0.01), exact, [0])
        with pytest.raises(UnstableStructureError, match="unstable"):
            truncated_site_entropies(displace(weak, 0.01), weak.sites, exact, 0, [5])


def test_structures_that_do_not_match():
    chain = pair_lattice(20, 1)
    moved, exact = displace(chain), contour(chain)
    with pytest.raises(InvalidInputError, match="half the width"):
        truncated_site_entropies(moved, chain.sites, exact, 0, [5, 11])
    with pytest.raises(InvalidInputError, match="one atom"):
        truncated_site_entropies(moved, chain.sites, exact, [0, 1], [5])
    swapped, wide, other = moved[::-1], moved.copy(), moved.copy()
    wide.set_cell([21, 20, 20])
    other.symbols[3] = "He"
    for wrong, match in (
        (moved[:19], "atoms in its order"),
        (other, "atoms in its order"),
        (wide, "cell"),
        (swapped, "same order"),
        (chain.sites, "no atom is displaced"),
    ):
        with pytest.raises(InvalidStructureError, match=match):
            truncated_site_entropies(wrong, chain.sites, exact, 0, [5])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A chain before and after its displacement, and a module with its springs."""
    path = tmp_path_factory.mktemp("locality")
    chain = pair_lattice(60, 1, delta=0.5)
    ase.io.write(path / "chain.xyz", chain.sites, write_results=False)
    ase.io.write(path / "displaced.xyz", displace(chain), write_results=False)
    ase.io.write(path / "small.xyz", pair_lattice(3, 1).sites, write_results=False)
    (path / "springs.py").write_text(
        "from ase_vibent.analysis import pair_lattice\n"
        "def chain():\n    return pair_lattice(60, 1, delta=0.5)\n",
        encoding="utf-8",
    )
    return path


def test_command(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    common = "locality displaced.xyz --calculator springs:chain --sites 0 5 --engine contour "
    common += "--undisplaced chain.xyz --cutoffs 3 5 7 9 12"
    assert main([*common.split(), "--json", "--plot", "l.png"]) == 0
    data = json.loads(capsys.readouterr().out)
    chain, atoms = (ase.io.read(f"{name}.xyz") for name in ("chain", "displaced"))
    exact = contour(pair_lattice(60, 1, delta=0.5))
    expected = site_locality(atoms, exact, [0, 5])
    assert [s["exponent"] for s in data["sites"]] == pytest.approx(
        [s.fit.exponent for s in expected]
    )
    cut = truncated_site_entropies(atoms, chain, exact, 5, [3, 5, 7, 9, 12])
    assert data["truncated"][1]["errors_kB"] == pytest.approx(list(cut.errors))
    assert data["truncated"][1]["exponent"] == pytest.approx(cut.fit.exponent)
    assert (folder / "l.png").stat().st_size > 1e4
    assert main([*common.split(), "--error", "1e-9"]) == 0
    text = capsys.readouterr().out
    assert f"{expected[1].fit.exponent:.2f} ±" in text
    assert "(extrapolated)" in text


def test_slow_decay_has_no_cutoff(folder, capsys, monkeypatch):
    """The gradients are printed all the same."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        "ase_vibent.analysis.locality.fit_power_law", lambda r, values: PowerLaw(1.0, 0.4, 0.1)
    )
    common = "locality displaced.xyz --calculator springs:chain"
    assert main([*common.split(), "--json", "--plot", "slow.png"]) == 0
    assert json.loads(capsys.readouterr().out)["sites"][0]["recommended_cutoff"] is None
    assert main(common.split()) == 0
    assert "none, none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("small.xyz --calculator springs:chain", "too small to say"),
        ("displaced.xyz --calculator springs:chain --cutoffs 3", "one needs the other"),
        ("displaced.xyz --calculator springs:chain --sites 60", "sites"),
        ("missing.xyz --calculator springs:chain", "no such file"),
        ("displaced.xyz --calculator springs:chain --plot l.docx", "no figure format"),
        (
            "displaced.xyz --calculator springs:chain --undisplaced chain.xyz --cutoffs 31",
            "half the width",
        ),
        (
            "displaced.xyz --calculator springs:chain --undisplaced small.xyz --cutoffs 3",
            "atoms in its order",
        ),
    ],
)
def test_mistakes_get_one_sentence(folder, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    assert main(["locality", *arguments.split()]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_nothing_lies_beyond_a_cluster():
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True) * (4, 4, 4)
    atoms.pbc = False
    centre = int(np.argmin(np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1)))
    distances = atoms.get_distances(centre, range(len(atoms)))
    law = PowerLaw(1.0, 6.0, 0.1)
    magnitudes = np.where(distances > 0, np.maximum(distances, 1.0) ** -6.0, 0.0)
    site = SiteLocality(centre, distances, magnitudes, np.inf, 3, (4.0, 8.0), np.ones((4, 2)), law)
    assert site.largest_errors([distances.max()], 1.0) == 0
    near = site.largest_errors([6.0], 1.0)
    assert near == pytest.approx(magnitudes[distances > 6.0].sum(), rel=1e-12)
    cutoff = site.recommended_cutoff(1e-12, 0.1)
    assert cutoff.measured
    assert cutoff.cutoff <= distances.max()


@pytest.mark.parametrize(
    ("bonds", "springs", "words"), [([[0, 0]], [1.0], "different"), ([[0, 1]], [np.nan], "finite")]
)
def test_bonds_that_are_none(bonds, springs, words):
    with pytest.raises(InvalidInputError, match=words):
        LatticeModel(pair_lattice(4, 1).sites, bonds, springs)
