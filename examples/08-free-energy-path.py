"""A nudged elastic band on E + F_vib(T): the barrier of a vacancy jump against temperature.

A model of minima and saddles has one mode fewer at the saddle, so that the rate over a barrier ΔF
of this surface is (k_B T_0/h) exp(-ΔF/(k_B T)), T_0 = 300 K.
"""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.mep import NEB
from ase.optimize import FIRE
from ase.units import _e, _hplanck, kB
from matplotlib.figure import Figure

from ase_vibent import SiteEntropyCalculator
from ase_vibent.structures import relaxed, vacancies
from ase_vibent.thermo import path_coordinates

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 3
before = vacancies(crystal)[0]
neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
after = before.copy()
after.positions[neighbour - 1] = crystal.positions[0]


def band(temperature: float) -> list[Atoms]:
    """Path of lowest free energy; of lowest energy at 0 K."""

    def surface() -> object:
        if temperature == 0:
            return EMT()
        vibrations = SiteEntropyCalculator.from_pretrained("cu-emt", temperature=temperature)
        return SumCalculator([EMT(), vibrations])

    ends = [relaxed(end, surface, fmax=0.01) for end in (before, after)]
    images = [ends[0], *(ends[0].copy() for _ in range(3)), ends[1]]
    for image in images[1:-1]:
        image.calc = surface()
    chain = NEB(images, climb=True, method="improvedtangent")
    chain.interpolate(mic=True)
    FIRE(chain, logfile=None).run(fmax=0.03, steps=100)
    return images


figure = Figure(figsize=(4.8, 3.6), layout="constrained")
panel = figure.subplots()
for temperature in (0.0, 600.0, 1200.0):
    images = band(temperature)
    heights = np.array([image.get_potential_energy() for image in images])
    heights -= heights[0]
    panel.plot(path_coordinates(images), heights, "o-", ms=4, label=f"{temperature:g} K")
    text = f"{temperature:6.0f} K: barrier {heights.max():.4f} eV"
    if temperature:
        frequency = kB * 300 * _e / _hplanck
        rate = frequency * np.exp(-heights.max() / (kB * temperature))
        text += f", rate {rate:.2e} per second"
    print(text)
panel.set(xlabel="path (Å)", ylabel="energy or free energy (eV)")
panel.legend(frameon=False)
figure.savefig("free-energy-path.png", dpi=150)
