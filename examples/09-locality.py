"""Locality, and which cutoff to take
==================================

How far away atoms matter to a site's entropy, and which cutoff that asks for.
"""

import numpy as np
from ase.build import bulk

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import pair_lattice, site_locality, truncated_site_entropies
from ase_vibent.figures import locality_plot
from ase_vibent.potentials import stillinger_weber_silicon

rng = np.random.default_rng(0)

# A chain of springs: in d dimensions gradients fall as r^-2d, errors of cutoffs as r^-d.
chain = pair_lattice(400, 1, delta=0.5)
displaced = chain.displace(rng.normal(0, 0.1, 400))
# Without diagonalisation, gradients of sites are those of the cell's own vibrations, at Γ.
exact = HessianEntropyCalculator(chain, engine="contour", tolerance=1e-10, mesh="gamma")
(site,) = site_locality(displaced, exact, [200])
truncated = truncated_site_entropies(displaced, chain.sites, exact, 200, [3, 5, 8, 12, 20, 30, 50])
print(
    f"chain: gradient r^-{site.fit.exponent:.2f}, error of a cutoff r^-{truncated.fit.exponent:.2f}"
)
locality_plot([site], [truncated], 0.1, "locality.png")

# Silicon, any calculator: the cutoff for an error of 1e-3 k_B with displacements of 0.05 Å.
silicon = bulk("Si", "diamond", a=5.431, cubic=True) * 3
silicon.positions += rng.normal(0, 0.05, silicon.positions.shape)
exact = HessianEntropyCalculator(
    stillinger_weber_silicon(), engine="lanczos", tolerance=1e-8, mesh="gamma"
)
(site,) = site_locality(silicon, exact, [0], fit_range=(3.0, 8.0))
cutoff = site.recommended_cutoff(1e-3, 0.05)
print(
    f"silicon: cutoff {cutoff.cutoff:.1f} Å, "
    f"{'measured' if cutoff.measured else 'extrapolated'}; at 5 Å an error of "
    f"{site.rms_errors(5.0, 0.05)[0]:.1e} k_B is to be expected"
)
