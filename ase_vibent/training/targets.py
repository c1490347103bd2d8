"""What a site model is asked to reproduce; for entropies mass-free, extensive targets.

Γ-point totals of a periodic cell lack the three translations, about ln N, and are not
extensive. The perfect crystal of the same cell lacks the same: its converged bulk value
minus its Γ-point value is the *finite-size correction* of every frame of that cell.
Masses are taken out analytically.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.units import kB
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.checks import is_positive
from ase_vibent.errors import LabelError
from ase_vibent.harmonic.entropy import mass_entropy, unstable_mass_entropy
from ase_vibent.harmonic.rigid_motions import rigid_body_motions
from ase_vibent.quantities import ENTROPY, Target
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.structures.cells import same_cell
from ase_vibent.structures.validity import free_atoms


@dataclass(frozen=True)
class FrameTargets:
    """Targets of one frame in units of k_B, or eV for energies; None where the label is absent.

    Attributes
    ----------
    total : float or None
        Extensive; of entropies mass-free.
    gradient : ndarray, shape (N, 3), 1/Å, or None
    strain : ndarray, shape (3, 3), or None
    sites : ndarray, shape (N,), or None
    site_gradients : ndarray, shape (N, N, 3), 1/Å, or None
        Of every site with respect to every position.
    force_constants : ndarray, shape (m, 3, N, 3), 1/Å², or None
        Rows of the Hessian of the total.
    displaced : ndarray of int, shape (m,), or None
        The atoms that these rows belong to.
    weight : float
        Factor of all rows of the frame.
    error : float
        Of the total, as far as its Hessian is to blame and that is known, else 0.
    """

    total: float | None
    gradient: Array | None = None
    strain: Array | None = None
    sites: Array | None = None
    site_gradients: Array | None = None
    force_constants: Array | None = None
    displaced: NDArray[np.int64] | None = None
    weight: float = 1.0
    error: float = 0.0


def frame_weight(atoms: Atoms) -> float:
    """Factor of all rows of a frame, `vibent_weight` in its info; LabelError unless positive."""
    weight = atoms.info.get(dataset.WEIGHT, 1.0)
    if not is_positive(weight):
        raise LabelError(f"{dataset.WEIGHT}: expected a number > 0, got {weight!r}")
    return float(weight)


class ReferenceCrystals:
    """Perfect crystals of a dataset by name, and the targets of its frames: entropies.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled frames; those with a `vibent_name` are perfect crystals.

    Raises
    ------
    LabelError
        If a label has a value that it cannot have, a frame names a crystal that is missing, or has
        another cell than its crystal.
    """

    #: What is learned.
    target: ClassVar[Target] = ENTROPY

    def __init__(self, frames: Sequence[Atoms]):
        self.crystals: dict[str, Atoms] = {}
        #: Stiffness as which all softer modes count in the labels, eV/Å², or None.
        self.floor: float | None = None
        for number, atoms in enumerate(frames):
            dataset.check_frame(atoms, number)
            name = atoms.info.get(dataset.NAME)
            if name is not None and self.crystals.setdefault(str(name), atoms) != atoms:
                raise LabelError(
                    f"{dataset.NAME}: two different perfect crystals are named {name!r}"
                )
        self._check(frames)

    def _check(self, frames: Sequence[Atoms]) -> None:
        """Raise LabelError unless every frame has the crystal that it needs."""
        labelled = [atoms for atoms in frames if dataset.ENTROPY in atoms.info]
        if len({dataset.MESH in atoms.info for atoms in labelled}) > 1:
            raise LabelError(
                "frames: some labels are of Γ alone, others of a mesh; label all of them alike"
            )
        displacements = {atoms.info.get(dataset.DISPLACEMENT) for atoms in labelled} - {None}
        if len(displacements) > 1:
            one, other, *_ = sorted(map(str, displacements))
            raise LabelError(
                f"frames: some labels are of displacements of {one} Å, others of {other} Å; label "
                "all of them alike"
            )
        floors = {atoms.info.get(dataset.FLOOR) for atoms in labelled}
        if len(floors) > 1:
            one, other, *_ = sorted(map(str, floors))
            raise LabelError(
                f"frames: the floor of some labels is {one} eV/Å², of others {other}; label all of "
                "them alike"
            )
        self.floor = next(iter(floors), None)
        for number, atoms in enumerate(frames):
            crystal = self.of(atoms, number)
            if crystal is None and self.crystals and np.all(atoms.pbc):
                raise LabelError(
                    f"frame {number}: names no reference crystal, although the dataset has some "
                    f"({', '.join(self.crystals)}); label it with reference=…"
                )
            if crystal is not None and _mesh(atoms) != _mesh(crystal):
                raise LabelError(
                    f"frame {number}: its label is of {_mesh(atoms)}, that of its reference "
                    f"{atoms.info[dataset.REFERENCE]!r} of {_mesh(crystal)}; label both alike"
                )
            if crystal is not None and not same_cell(crystal, atoms):
                raise LabelError(
                    f"frame {number}: its cell {np.round(atoms.cell.cellpar(), 4).tolist()} or pbc "
                    f"is not that of its reference {atoms.info[dataset.REFERENCE]!r} "
                    f"{np.round(crystal.cell.cellpar(), 4).tolist()}; label the perfect crystal "
                    "of this cell, at this strain"
                )

    def of(self, atoms: Atoms, number: int | str = 0) -> Atoms | None:
        """Perfect crystal of a frame, or None if it names none."""
        name = atoms.info.get(dataset.REFERENCE)
        if name is None:
            return None
        if str(name) not in self.crystals:
            known = ", ".join(self.crystals) or "none"
            raise LabelError(
                f"frame {number}: its reference crystal {name!r} is not in the dataset (there: "
                f"{known}); add it with attach_labels(crystal, calculator, name={str(name)!r})"
            )
        return self.crystals[str(name)]

    def known_constants(self, species: Sequence[str]) -> Mapping[str, float]:
        """Constants that are not fitted, by kind of site.

        The mass-free bulk site entropies of the first crystal, units of k_B.
        """
        for crystal in self.crystals.values():
            bulk, kinds = _bulk(crystal), species_indices(crystal, species)
            return {species[z]: float(bulk[kinds == z].mean()) for z in np.unique(kinds)}
        return {}

    def beyond_crystal(self, atoms: Atoms) -> float:
        """Total of a frame beyond as many atoms of its infinite crystal, mass-free, k_B.

        Parameters
        ----------
        atoms : Atoms
            Labelled, with a reference.

        Returns
        -------
        float
            A vacancy's formation entropy, say.
        """
        symbols = atoms.get_chemical_symbols()
        crystal, total = self.of(atoms), self.targets(atoms).total
        assert crystal is not None
        assert total is not None
        constants = ReferenceCrystals([crystal]).known_constants(sorted(set(symbols)))
        return total - sum(constants[symbol] for symbol in symbols)

    def targets(self, atoms: Atoms, number: int | str = 0) -> FrameTargets:
        """Targets of a frame.

        Parameters
        ----------
        atoms : Atoms
        number : int or str
            Position in the dataset, for messages.

        Returns
        -------
        FrameTargets

        Raises
        ------
        LabelError
            If the frame has no label at all, or some of its atoms were fixed.
        """
        keys = sorted(quantity.key for quantity in self.target.fitted.values())
        if not {*keys}.intersection({**atoms.info, **atoms.arrays}):
            raise LabelError(
                f"frame {number}: has none of the labels {', '.join(keys)}; make them with "
                "attach_labels or 'vibent label'"
            )
        _require_free_atoms(atoms, number)
        crystal = self.of(atoms, number)
        entropy, sites = _mass_free_entropy(atoms), _mass_free_sites(atoms)
        gradient, strain = atoms.arrays.get(dataset.GRADIENT), atoms.info.get(dataset.STRAIN)
        gradient = None if gradient is None else gradient / kB
        strain = None if strain is None else np.reshape(strain, (3, 3)) / kB
        site_gradients = atoms.arrays.get(dataset.SITE_GRADIENTS)
        if site_gradients is not None:
            site_gradients = site_gradients.reshape(len(atoms), len(atoms), 3) / kB
        if crystal is not None:
            correction = _finite_size_correction(crystal)
            entropy = None if entropy is None else entropy + correction
            if sites is not None:
                sites = _corrected_sites(sites, crystal, atoms, correction)
            if strain is not None:
                strain = strain + _strain_correction(crystal)
        return FrameTargets(
            entropy,
            gradient,
            strain,
            sites,
            site_gradients,
            weight=frame_weight(atoms),
            error=_hessian_error(atoms, crystal),
        )


def _hessian_error(atoms: Atoms, crystal: Atoms | None) -> float:
    """How far a label is off for its Hessian, k_B, less what its crystal shares; 0 if unknown."""
    errors = [
        (len(atoms) / len(frame)) * float(np.ravel(frame.info[dataset.ERRORS])[-1]) / kB
        for frame in (atoms, crystal)
        if frame is not None and dataset.ERRORS in frame.info
    ]
    difference = errors[0] - errors[1] if len(errors) == 2 else sum(errors)
    return abs(difference) if np.isfinite(difference) else 0.0


def _mesh(atoms: Atoms) -> str:
    mesh = atoms.info.get(dataset.MESH)
    return "Γ alone" if mesh is None else f"a mesh {np.ravel(mesh).tolist()}"


def _require_free_atoms(atoms: Atoms, number: int | str) -> None:
    if len(free_atoms(atoms)) < len(atoms):
        raise LabelError(
            f"frame {number}: labels of structures with fixed atoms leave those out of the "
            "sums and cannot train a site model; label without FixAtoms"
        )


def _mass_free_entropy(atoms: Atoms) -> float | None:
    """Reduced entropy at masses of 1 amu."""
    label = atoms.info.get(dataset.ENTROPY)
    if label is None:
        return None
    if dataset.N_MODES not in atoms.info:
        raise LabelError(f"{dataset.N_MODES}: missing beside {dataset.ENTROPY}")
    reduced = label / kB - atoms.info[dataset.N_MODES]
    return float(reduced - mass_entropy(atoms.get_masses()).sum() - _left_out_mass_entropy(atoms))


def _left_out_mass_entropy(atoms: Atoms) -> float:
    """What the masses owe to modes that are not in the sum, to be shared by all sites.

    Rigid-body motions: -½ ln of det TᵀMT / det TᵀT, which is -(3/2) ln(mean mass) in a
    periodic cell; none away from Γ. Unstable modes: see `unstable_mass_entropy`.
    """
    unstable = float(atoms.info.get(dataset.N_UNSTABLE, 0))
    left_out = unstable_mass_entropy(atoms.get_masses(), unstable)
    if dataset.MESH in atoms.info:
        return left_out
    volumes = []
    for weighted in (True, False):
        singular = np.linalg.svd(
            rigid_body_motions(atoms, mass_weighted=weighted), compute_uv=False
        )
        volumes.append(np.sum(np.log(singular[singular > 1e-8 * singular.max()])))
    return float(volumes[1] - volumes[0] + left_out)


def _mass_free_sites(atoms: Atoms) -> Array | None:
    label = atoms.arrays.get(dataset.SITES)
    if label is None:
        return None
    if dataset.SITE_MODES not in atoms.arrays:
        raise LabelError(f"{dataset.SITE_MODES}: missing beside {dataset.SITES}")
    reduced = label / kB - atoms.arrays[dataset.SITE_MODES]
    rest = _left_out_mass_entropy(atoms) / len(atoms)
    return np.asarray(reduced - mass_entropy(atoms.get_masses()) - rest)


def _bulk(crystal: Atoms) -> Array:
    """Converged mass-free site entropies of a perfect crystal, units of k_B."""
    label = crystal.arrays.get(dataset.BULK)
    if label is None:
        raise LabelError(
            f"{dataset.BULK}: missing on the perfect crystal {crystal.info.get(dataset.NAME)!r}; "
            "label it with attach_labels(crystal, calculator, name=…)"
        )
    return np.asarray(label / kB - 3 - mass_entropy(crystal.get_masses()))


def _finite_size_correction(crystal: Atoms) -> float:
    own = _mass_free_entropy(crystal)
    if own is None:
        raise LabelError(
            f"{dataset.ENTROPY}: missing on the perfect crystal {crystal.info[dataset.NAME]!r}"
        )
    return float(_bulk(crystal).sum() - own)


def _corrected_sites(sites: Array, crystal: Atoms, atoms: Atoms, total: float) -> Array | None:
    """Sites plus the crystal's finite-size correction, species by species.

    None if the crystal itself has no site labels to tell.
    """
    own = _mass_free_sites(crystal)
    if own is None:
        return None
    missing = _bulk(crystal) - own
    correction = np.full(len(atoms), missing.mean())
    for number in np.unique(crystal.numbers):
        correction[atoms.numbers == number] = missing[crystal.numbers == number].mean()
    # Another number of atoms shares the same three missing translations.
    return np.asarray(sites + correction + (total - correction.sum()) / len(atoms))


def _strain_correction(crystal: Atoms) -> Array:
    missing = [k for k in (dataset.STRAIN, dataset.BULK_STRAIN) if k not in crystal.info]
    if missing:
        raise LabelError(
            f"{missing[0]}: missing on the perfect crystal {crystal.info[dataset.NAME]!r}; "
            "label it with attach_labels(crystal, calculator, name=…, labels=['strain', …])"
        )
    converged, own = (
        np.reshape(crystal.info[k], (3, 3)) / kB for k in (dataset.BULK_STRAIN, dataset.STRAIN)
    )
    return np.asarray(converged - own)
