"""Descriptors of events that are tried where the user names none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from ase_vibent.descriptors import ACE, Joined
from ase_vibent.structures.displacements import nearest_distance

#: Cutoffs that are tried, in shortest distances: from the first shell to beyond the second. Errors
#: grow fast on either side of the best.
CUTOFFS = (1.3, 1.5, 1.6, 1.7, 1.9, 2.1)
#: Orders of ACE that stand side by side, and their degrees: what is a sum over pairs and triplets
#: is resolved finely, what is not coarsely.
DEGREES = {2: 16, 3: 12}
#: Features of all species of centres, at most; with more species degrees are lower.
MOST_FEATURES = 1500


def candidate_bases(structures: Sequence[Atoms]) -> list[Joined]:
    """ACE of orders 2 and 3 at several cutoffs.

    Parameters
    ----------
    structures : sequence of Atoms
        Minima and saddles.

    Returns
    -------
    list of Joined
    """
    typical = float(np.median([nearest_distance(atoms) for atoms in structures]))
    species = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    lower = 0
    while True:
        bases = [
            Joined(
                [
                    ACE(
                        species,
                        cutoff=round(reach * typical, 2),
                        order=order,
                        degree=degree - lower,
                        r0=round(typical, 3),  # and `inner` well below: functions vanish there
                    )
                    for order, degree in DEGREES.items()
                ]
            )
            for reach in CUTOFFS
        ]
        small = len(species) * bases[0].n_features <= MOST_FEATURES
        if small or lower == min(DEGREES.values()) - 4:
            return bases
        lower += 1
