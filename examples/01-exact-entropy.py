"""Exact entropy of a vacancy, site by site
========================================

Exact vibrational entropy of a vacancy in EMT copper, whole and site by site.

Any ASE calculator will do. Entropies are those of the cell repeated for ever, averages over its
Brillouin zone, so that they are extensive: the formation entropy is the difference to as many atoms
of the perfect crystal, and hardly depends on the size of the cell.
"""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from ase.units import kB

from ase_vibent import HessianEntropyCalculator

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)
vacancy = crystal.copy()
del vacancy[0]
vacancy.calc = EMT()
BFGS(vacancy, logfile=None).run(fmax=1e-4)

exact = HessianEntropyCalculator(EMT, temperature=600)
per_atom = exact.get_property("entropy", crystal) / len(crystal)
formation = exact.get_property("entropy", vacancy) - len(vacancy) * per_atom
print(f"formation entropy, {len(crystal)} atoms: {formation / kB:.3f} k_B")

vacancy.calc = exact
neighbours = crystal.get_distances(0, range(1, len(crystal)), mic=True)
sites = exact.get_property("entropies", vacancy) / kB
for distance in np.unique(neighbours.round(3)):
    shell = sites[neighbours.round(3) == distance]
    print(f"  {len(shell):2d} sites at {distance:.3f} Å: {shell.mean():.4f} k_B each")
print(f"free energy at 600 K: {vacancy.get_potential_energy():.4f} eV")
frequencies = exact.get_frequencies(vacancy)  # of all modes at every point of the mesh
print(f"lowest ħω: {1e3 * frequencies.min():.2f} meV, on {len(frequencies)} points")
