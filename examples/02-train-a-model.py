"""Train a model
=============

Label a few rattled cells of silicon, train a surrogate, save it, look at its errors.
"""

from pathlib import Path

import numpy as np
from ase.build import bulk

from ase_vibent import ACE, HessianEntropyCalculator, SiteModel, attach_labels, train
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.report import format_metrics

crystal = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)
vacancy = crystal.copy()
del vacancy[0]

# Rattled cells are off a minimum: unstable="any" takes log⁺, should a mode turn unstable.
reference = HessianEntropyCalculator(stillinger_weber_silicon, unstable="any")
frames = [attach_labels(crystal, reference, name="perfect")]
rng = np.random.default_rng(0)
for number in range(12):
    atoms = (vacancy if number % 2 else crystal).copy()
    atoms.positions += rng.uniform(-0.04, 0.04, atoms.positions.shape)
    frames.append(attach_labels(atoms, reference, reference="perfect"))

descriptor = ACE(["Si"], cutoff=4.5, order=3, degree=10)
model = train(frames, descriptor, test=0.25)
print(f"{descriptor.n_features} functions, {model.header['n_rows']} rows")
print(format_metrics(model.header["errors"]))

path = Path("si.vibent")
model.save(path)
print(f"{path}: {path.stat().st_size / 1024:.0f} KiB, species {SiteModel.load(path).species}")
