"""Structures to label
===================

Structures to label: defects of copper, relaxed and without duplicates, and a vacancy's jump.
"""

from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent.stationary import path_saddle, relax
from ase_vibent.structures import (
    apply_strain,
    clusters,
    damage,
    dumbbells,
    interstitials,
    rattle,
    unique,
    vacancies,
    wigner_seitz_defects,
)

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)

# One structure per inequivalent choice, and clusters at random. Rattled, because symmetry
# would hold some of them on saddles.
starts = vacancies(crystal) + interstitials(crystal) + dumbbells(crystal)
starts += clusters(crystal, "vacancy", size=2, count=3, rng=0)
minima = [relax(rattle(atoms, 0.3, 1, k)[0], EMT, fmax=3e-3) for k, atoms in enumerate(starts)]
distinct = [minima[k] for k in unique(minima, crystal=crystal)]
print(f"{len(starts)} starts, {len(distinct)} distinct minima")
for atoms in distinct:
    print(f"  {atoms.info['defect']:<22} {len(atoms)} atoms {atoms.get_potential_energy():9.4f} eV")

# Strained copies, and a cell as after irradiation.
expanded = [
    apply_strain(atoms, strain) for atoms in distinct for strain in (-0.01, 0.01, 0.02, 0.03)
]
(irradiated,) = damage(crystal, fraction=0.3, amplitude=4.0, count=1, rng=3)
counted = wigner_seitz_defects(relax(irradiated, EMT, fmax=0.01), crystal)
print(
    f"{len(expanded)} strained copies; damaged and relaxed: {counted.n_vacancies} vacancies, "
    f"{counted.n_interstitials} interstitials"
)

# The jump of a neighbour into the vacancy.
initial = vacancies(crystal)[0]
final = initial.copy()
final.positions[0] = crystal.positions[0]
jump = path_saddle(initial, final, EMT, images=3)
print(
    f"vacancy jump: barrier {jump.barrier_forward:.4f} eV, one unstable mode at "
    f"{1000 * jump.frequency:.2f} meV, connects the two minima: {jump.connected}"
)
