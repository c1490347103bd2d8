"""A model that comes with the package
===================================

A model that comes with the package: formation entropy of the silicon vacancy, untrained.
"""

from ase.build import bulk
from ase.optimize import LBFGS
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator, pretrained
from ase_vibent.potentials import stillinger_weber_silicon

card = pretrained.card("si-sw")
error = card["held_out_errors"]["entropy_rmse_kB"]
print(f"{card['title']}, {card['citation']}: RMSE {error:.1e} k_B on held-out cells")

surrogate = SiteEntropyCalculator.from_pretrained("si-sw", temperature=300)
exact = HessianEntropyCalculator(stillinger_weber_silicon, temperature=300)
for edge, judge in ((2, exact), (5, None)):
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * edge
    vacancy = crystal.copy()
    del vacancy[0]
    vacancy.calc = stillinger_weber_silicon()
    LBFGS(vacancy, logfile=None).run(fmax=0.01)
    deviation = surrogate.get_property("entropy_std", vacancy) / kB
    # The removed atom goes on as one more atom of the bulk.
    per_atom = surrogate.get_property("entropy", crystal) / len(crystal)
    for name, calculator in (("surrogate", surrogate), ("exact", judge)):
        if calculator is not None:
            difference = calculator.get_property("entropy", vacancy)
            difference -= calculator.get_property("entropy", crystal)
            text = f" ± {deviation:.3f}" if calculator is surrogate else ""
            print(
                f"{len(crystal):5d} atoms, {name:<9} "
                f"formation entropy {(difference + per_atom) / kB:.3f}{text} k_B"
            )
