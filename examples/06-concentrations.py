"""Concentrations of defects
=========================

How many vacancies a crystal holds: formation free energies and concentrations.
"""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import SiteEntropyCalculator
from ase_vibent.figures import formation_plot
from ase_vibent.stationary import relax
from ase_vibent.structures import divacancies, vacancies
from ase_vibent.thermo import defect_formation

surrogate = SiteEntropyCalculator.from_pretrained("cu-emt")
temperatures = np.linspace(400, 1300, 19)
crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 4
formations = {}
for name, start in (("vacancy", vacancies(crystal)[0]), ("divacancy", divacancies(crystal)[0])):
    defect = relax(start, EMT, fmax=0.01)
    found = defect_formation(defect, crystal, surrogate, temperatures, potential=EMT)
    formations[name] = found
    print(
        f"{name}: E_f = {found.energy:.3f} eV, S_f = {found.entropies[0] / kB:.2f} "
        f"± {found.entropy_std / kB:.2f} k_B at {found.condition}; "
        f"{found.concentrations[-1]:.1e} per site at {temperatures[-1]:.0f} K, "
        f"{found.degeneracy_factors[-1]:.1f} times as many as without vibrations"
    )
formation_plot(formations, "concentrations.png")
