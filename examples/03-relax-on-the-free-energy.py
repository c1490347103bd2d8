"""Relax a vacancy and its cell on E + F_vib(T): thermal expansion from one optimizer run."""

from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    attach_labels,
    train,
)
from ase_vibent.potentials import stillinger_weber_silicon

# Train on perfect crystals at several strains: each is a reference of its own.
reference = HessianEntropyCalculator(stillinger_weber_silicon)
frames = []
for number, lattice in enumerate((5.431, 5.35, 5.40, 5.46, 5.51)):
    crystal = bulk("Si", "diamond", a=lattice, cubic=True)
    frames.append(attach_labels(crystal, reference, name=f"si-{number}", gradient=False))
model = train(frames, ACE(["Si"], cutoff=4.5, order=2, degree=8))

atoms = bulk("Si", "diamond", a=5.431)
for temperature in (100, 600, 1200):
    entropic = SiteEntropyCalculator(model, temperature=temperature)
    atoms.calc = SumCalculator([stillinger_weber_silicon(), entropic])
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4)
    lattice = (4 * atoms.get_volume()) ** (1 / 3)
    print(f"{temperature:5d} K: a = {lattice:.4f} Å (classical)")
