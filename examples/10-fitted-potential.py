"""A fitted potential beside a model of its entropy
================================================

One set of labels, two models: a linear ACE potential and its vibrational entropy, E + F_vib(T).

Energies, forces, virials and some force constants are by-products of labelling entropies.
"""

from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEnergyCalculator,
    SiteEntropyCalculator,
    attach_labels,
    train,
)
from ase_vibent.stationary import relax
from ase_vibent.structures import rattle, vacancies
from ase_vibent.thermo import defect_formation
from ase_vibent.training.report import format_metrics

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 2
vacancy = relax(vacancies(crystal)[0], EMT)
exact = HessianEntropyCalculator(EMT, unstable="any")
labels = ["sites", "energies", "force_constants"]
frames = [attach_labels(crystal, exact, name="cu", labels=labels)]
for start in (crystal, vacancy):
    for atoms in rattle(start, 0.2, 5):
        frames.append(
            attach_labels(atoms, exact, reference="cu", labels=labels, force_constant_atoms=[0, 12])
        )

basis = ACE(["Cu"], cutoff=5.0, order=2, degree=9)
models = {target: train(frames, basis, target=target, test=0.2) for target in ("energy", "entropy")}
for target, model in models.items():
    print(f"{target}\n{format_metrics(model.header['errors'], target)}")


def potential() -> SiteEnergyCalculator:
    return SiteEnergyCalculator(models["energy"])


for name, energies, entropies in (
    ("exact", EMT, HessianEntropyCalculator(EMT)),
    ("fitted potential, its Hessian", potential, HessianEntropyCalculator(potential)),
    ("two fitted models", potential, SiteEntropyCalculator(models["entropy"])),
):
    # Each relaxes the vacancy on its own surface, as in a larger cell it would have to.
    larger = bulk("Cu", "fcc", a=3.5898) * 4
    defect = relax(vacancies(larger)[0], energies)
    found = defect_formation(defect, larger, entropies, 600, potential=energies)
    print(
        f"{name:<30} E_f = {found.energy:.3f} eV, S_f = {found.entropies[0] / kB:.3f} k_B, "
        f"F_f(600 K) = {found.free_energies[0]:.3f} eV"
    )
