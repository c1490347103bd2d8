"""Thermal expansion
=================

Thermal expansion of silicon: cell and atoms relax on E + F_vib(T), with a shipped model.
"""

import numpy as np
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from matplotlib.figure import Figure

from ase_vibent import SiteEntropyCalculator
from ase_vibent.potentials import stillinger_weber_silicon

atoms = bulk("Si", "diamond", a=5.431)
temperatures = np.arange(200.0, 1201.0, 200.0)
lattices: dict[str, list[float]] = {"classical": [], "quantum": []}
for statistics, found in lattices.items():
    for temperature in temperatures:
        vibrations = SiteEntropyCalculator.from_pretrained(
            "si-sw", temperature=temperature, quantum=statistics == "quantum"
        )
        atoms.calc = SumCalculator([stillinger_weber_silicon(), vibrations])
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4)
        found.append((4 * atoms.get_volume()) ** (1 / 3))
        print(f"{statistics:<10} {temperature:5.0f} K: a = {found[-1]:.4f} Å")

figure = Figure(figsize=(4.6, 3.4), layout="constrained")
panel = figure.subplots()
for statistics, found in lattices.items():
    panel.plot(temperatures, found, ".-", label=statistics)
panel.set(xlabel="temperature (K)", ylabel="lattice constant (Å)")
panel.legend(frameon=False)
figure.savefig("thermal-expansion.png", dpi=150)
