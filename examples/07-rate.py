"""How often a vacancy jumps: saddle, attempt frequency and rate, by surrogate and exactly."""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator
from ase_vibent.plots import rate_plot
from ase_vibent.structures import path_saddle, vacancies
from ase_vibent.thermo import transition_rate

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 2
before = vacancies(crystal)[0]  # atom 0 is taken out
neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
after = before.copy()
after.positions[neighbour - 1] = crystal.positions[0]
event = path_saddle(before, after, EMT, fmax=0.005)
print(f"barrier {event.barrier_forward:.3f} eV, connected: {event.connected}")

temperatures = np.linspace(300, 1200, 19)
surrogate = SiteEntropyCalculator.from_pretrained("cu-emt")
for name, calculator in (("surrogate", surrogate), ("exact", HessianEntropyCalculator(EMT))):
    rate = transition_rate(event.minimum_1, event.saddle, calculator, temperatures, potential=EMT)
    print(
        f"{name:<9} ν* = {rate.attempt_frequencies[0] / 1e12:.2f} THz "
        f"(± {100 * rate.log_std:.0f} %), {rate.rates[-1]:.2e} jumps a second at 1200 K"
    )
    if calculator is surrogate:
        rate_plot(rate, "rate.png")
