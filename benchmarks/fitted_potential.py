"""A linear ACE potential fitted with and without force constants: what they do for vibrations.

Stillinger-Weber silicon, cells of 64 and 63 atoms. The judge is the potential itself: errors of
energies, forces and force constants on held-out cells, of the crystal's converged entropy, and of
energy and entropy of formation of a vacancy, each relaxed on its own surface. The last row takes
the fitted potential's energy and the entropy of a second model, trained on the same cells.
"""

from __future__ import annotations

import argparse
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.units import kB

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEnergyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    attach_labels,
    bulk_site_entropies,
    train,
)
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary import relax
from ase_vibent.structures import rattle, vacancies
from ase_vibent.thermo import defect_formation
from ase_vibent.training.report import evaluate_frames

#: Kinds of row that are fitted.
FITS = {
    "energies, forces": ("total", "gradient"),
    "and virials": ("total", "gradient", "strain"),
    "and force constants": ("total", "gradient", "strain", "force_constants"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=12, help="training cells of either kind")
    parser.add_argument("--degree", type=float, default=10.0, help="total degree, order 3")
    options = parser.parse_args()
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * 2
    vacancy = relax(vacancies(crystal)[0], stillinger_weber_silicon)
    training = labelled(crystal, vacancy, options.cells, seed=0)
    held_out = labelled(crystal, vacancy, 6, seed=1)[1:]
    basis = ACE(["Si"], cutoff=4.5, order=3, degree=options.degree, l_weight=0.75)
    print(
        f"{len(training)} cells in training, {len(held_out)} held out, {basis.n_features} functions"
    )
    print(
        f"{'fitted':<24}{'E (meV)':>9}{'F (meV/Å)':>11}{'FC (eV/Å²)':>12}"
        f"{'S bulk (k_B)':>14}{'E_f (eV)':>10}{'S_f (k_B)':>11}"
    )
    exact = vibrations(crystal, stillinger_weber_silicon)
    print(f"{'exact':<24}{'':>32}{exact[0]:>14.4f}{exact[1]:>10.4f}{exact[2]:>11.4f}")
    for name, quantities in FITS.items():
        model = train(training, basis, target="energy", quantities=quantities)
        found = vibrations(crystal, lambda model=model: SiteEnergyCalculator(model))
        print(f"{name:<24}{errors(model, held_out)}{found[0]:>14.4f}", end="")
        print(f"{found[1]:>10.4f}{found[2]:>11.4f}")
    entropic = SiteEntropyCalculator(train(training, basis), temperature=300)
    found = vibrations(crystal, lambda: SiteEnergyCalculator(model), entropic)
    print(f"{'and a model of entropy':<24}{'':>32}{'':>14}{found[1]:>10.4f}{found[2]:>11.4f}")


def labelled(crystal: Atoms, vacancy: Atoms, count: int, seed: int) -> list[Atoms]:
    """The crystal, then rattled cells, with labels of both targets."""
    exact = HessianEntropyCalculator(stillinger_weber_silicon, unstable="any")
    wanted: dict[str, Any] = {
        "labels": ("gradient", "sites", "energies", "force_constants"),
        "force_constant_atoms": [0, 20],
    }
    frames = [attach_labels(crystal, exact, name="si", **wanted)]
    for start in (crystal, vacancy):
        for atoms in rattle(start, 0.2, count, seed):
            frames.append(attach_labels(atoms, exact, reference="si", **wanted))
    return frames


def errors(model: SiteModel, frames: list[Atoms]) -> str:
    comparisons = evaluate_frames(model, frames)
    rmse = {kind: comparison.metrics()["rmse"] for kind, comparison in comparisons.items()}
    energies, forces = 1e3 * rmse["total"], 1e3 * rmse["gradient"]
    return f"{energies:>9.2f}{forces:>11.2f}{rmse['force_constants']:>12.4f}"


def vibrations(crystal: Atoms, potential: Any, entropies: Any = None) -> tuple[float, float, float]:
    """Bulk entropy of an atom, and energy and entropy of formation of a relaxed vacancy."""
    per_atom = bulk_site_entropies(crystal, potential(), width=15.0).mean()
    defect = relax(vacancies(crystal)[0], potential, fmax=1e-3)
    found = defect_formation(
        defect,
        crystal,
        HessianEntropyCalculator(potential) if entropies is None else entropies,
        300,
        potential=potential,
    )
    return float(per_atom), found.energy, float(found.entropies[0] / kB)


if __name__ == "__main__":
    main()
