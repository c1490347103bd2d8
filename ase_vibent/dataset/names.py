"""Names of the labels.

Labels are classical, at 300 K, under names that ASE's readers leave alone.
"""

from __future__ import annotations

from ase_vibent import quantities

#: How the names of all labels begin.
PREFIX = "vibent_"
#: How the names of predictions begin, in info and arrays: none is taken for a label.
PREDICTED = "predicted_"
#: In `atoms.info`: total entropy, eV/K.
ENTROPY = quantities.ENTROPY["total"].key
#: In `atoms.info`: derivative of the entropy with respect to strain, (3, 3), eV/K.
STRAIN = quantities.ENTROPY["strain"].key
#: In `atoms.info`: number of modes in the sum, and of unstable ones left out.
N_MODES, N_UNSTABLE = "vibent_n_modes", "vibent_n_unstable"
#: In `atoms.info`: estimated errors of the total, with signs, see `EntropyErrors`, (3,), eV/K.
ERRORS = "vibent_entropy_errors"
#: In `atoms.info`: share of the Hessian that the mesh told apart by guess, in narrow cells.
GUESSED = "vibent_guessed_share"
#: In `atoms.info`: mesh of q over the cell's Brillouin zone, three numbers; none is Γ alone.
MESH = "vibent_mesh"
#: In `atoms.info`: lowest eigenvalues of the cell's Hessian at Γ, (n,), eV/Å²: rigid-body motions
#: and masses left out, unstable ones first.
SOFT_EIGENVALUES = quantities.LABEL_KEYS["soft_modes"]
#: In `atoms.info`: name of a perfect crystal, and the name of a frame's perfect crystal.
NAME, REFERENCE = "vibent_name", "vibent_reference"
#: In `atoms.info`: strain derivative of the crystal's converged entropy, (3, 3), eV/K.
BULK_STRAIN = "vibent_bulk_entropy_strain"
#: In `atoms.info`: what makes two labels the same work, and the calculator behind them.
KEY, CALCULATOR = "vibent_key", "vibent_calculator"
#: In `atoms.arrays`: site entropies (mass-free decomposition), eV/K, and gradient, eV/K/Å.
SITES, GRADIENT = (quantities.ENTROPY[name].key for name in ("sites", "gradient"))
#: In `atoms.arrays`: number of modes behind every site entropy, Σ_ν |e_νi|².
SITE_MODES = "vibent_site_modes"
#: In `atoms.arrays`: gradients of every site entropy with respect to all positions, flattened to
#: shape (N, 3N), eV/K/Å.
SITE_GRADIENTS = quantities.ENTROPY["site_gradients"].key
#: In `atoms.arrays`: mass-free moments of local densities of states, shape (N, n_columns),
#: (eV/Å²)^k, see `ase_vibent.harmonic.moments`; (N, 3) for one species. With more of them the paths
#: are told apart by species, in the alphabetical order of the symbols that the frame holds.
MOMENTS = quantities.ENTROPY["quantum"].key
#: In `atoms.arrays`: densities of states of a perfect crystal, at its masses, by nodes: eigenvalues
#: λ = ω² (eV/Å²/amu), then weights that sum to three for an atom; shape (N, 2 n_nodes).
DENSITIES = "vibent_densities"
#: In `atoms.arrays`: converged site entropies of a perfect crystal, eV/K.
BULK = "vibent_bulk_entropies"
#: Potential energy in `atoms.info`, eV; forces in `atoms.arrays`, eV/Å; derivative of the
#: energy with respect to strain (volume times stress) in `atoms.info`, (3, 3), eV.
ENERGY, FORCES, ENERGY_STRAIN = (
    quantities.ENERGY[name].key for name in ("total", "gradient", "strain")
)
#: In `atoms.arrays`: rows of the Hessian that belong to some atoms, (N, 9m), eV/Å²; column
#: 9k + 3a + b is for component a of the k-th of them, b of every atom. `atoms.info` lists them.
FORCE_CONSTANTS, DISPLACED = quantities.ENERGY["force_constants"].key, "vibent_displaced"
#: In `atoms.info`: eigenvalue of the Hessian as which all softer modes count, eV/Å²; none without.
FLOOR = "vibent_floor"
#: In `atoms.info`: a larger cell than those of the training, with which the error of a model in
#: large cells is measured; it is not fitted.
SIZE_CHECK = "vibent_size_check"
#: In `atoms.info`: factor of all rows of a frame in a fit, 1 where there is none.
WEIGHT = "vibent_weight"
#: In `atoms.info`: how the Hessian behind the labels was made, see `HessianOptions`.
DISPLACEMENT, INTERACTION_RANGE = "vibent_displacement", "vibent_interaction_range"
SYMMETRY, METHOD = "vibent_symmetry", "vibent_method"
#: In the file alone, in a frame's second line: SHA-256 of the frame without it.
CHECKSUM = "vibent_checksum"
