"""Rate of a jump
==============

How often a vacancy jumps: saddle, attempt frequency and rate, with a shipped model.
"""

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import SiteEntropyCalculator
from ase_vibent.figures import rate_plot
from ase_vibent.stationary import path_saddle
from ase_vibent.structures import vacancies
from ase_vibent.thermo import transition_rate

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 3
before = vacancies(crystal)[0]  # atom 0 is taken out
neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
after = before.copy()
after.positions[neighbour - 1] = crystal.positions[0]
event = path_saddle(before, after, EMT, images=3, fmax=0.005)
print(f"barrier {event.barrier_forward:.3f} eV, connected: {event.connected}")

surrogate = SiteEntropyCalculator.from_pretrained("cu-emt")
rate = transition_rate(
    event.minimum_1,
    event.saddle,
    surrogate,  # or HessianEntropyCalculator(EMT), exact
    np.linspace(300, 1200, 19),
    potential=EMT,
    check_modes=False,  # path_saddle has proved the saddle
)
print(
    f"ν* = {rate.attempt_frequencies[0] / 1e12:.2f} THz ± {100 * rate.log_std:.1f} %, "
    f"{rate.rates[-1]:.2e} jumps a second to each neighbour at 1200 K"
)
rate_plot(rate, "rate.png")
