"""Exact vibrational entropy of a vacancy in EMT copper, whole and site by site.

Any ASE calculator will do. Γ-point totals of a periodic cell are not extensive, so the
formation entropy is a difference to the perfect crystal of the same cell, plus the
converged bulk value of the atom that was taken out.
"""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, bulk_site_entropies

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)
vacancy = crystal.copy()
del vacancy[0]
vacancy.calc = EMT()
BFGS(vacancy, logfile=None).run(fmax=1e-4)

exact = HessianEntropyCalculator(EMT, temperature=600)
bulk_value = bulk_site_entropies(bulk("Cu", "fcc", a=3.5898), EMT)[0]
bulk_entropy = kB * (bulk_value + 3 * (1 + np.log(600 / 300)))
formation = (
    exact.get_property("entropy", vacancy) - exact.get_property("entropy", crystal) + bulk_entropy
)
print(f"formation entropy, {len(crystal)} atoms: {formation / kB:.3f} k_B")

vacancy.calc = exact
neighbours = crystal.get_distances(0, range(1, len(crystal)), mic=True)
sites = exact.get_property("entropies", vacancy) / kB
for distance in np.unique(neighbours.round(3)):
    shell = sites[neighbours.round(3) == distance]
    print(f"  {len(shell):2d} sites at {distance:.3f} Å: {shell.mean():.4f} k_B each")
print(f"free energy at 600 K: {vacancy.get_potential_energy():.4f} eV")
print(f"lowest ħω: {1e3 * exact.get_frequencies(vacancy)[0]:.2f} meV")
