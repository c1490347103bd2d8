"""The site model: a function of the descriptor per kind of site."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.checks import check_choice
from ase_vibent.descriptors import Descriptor, Quadratic, SiteSums, descriptor_from_dict
from ase_vibent.descriptors.quadratic_form import QuadraticForm
from ase_vibent.errors import InvalidInputError, ModelFileError
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics
from ase_vibent.model.curvature import Curvature
from ase_vibent.model.domain import TrainingDomain
from ase_vibent.model.file import read_archive, write_archive
from ase_vibent.model.finite_size import FiniteSize
from ase_vibent.model.floor import Floor
from ase_vibent.model.force_constants import displaced_differences
from ase_vibent.model.moments import MomentModel
from ase_vibent.model.parts import ModelPart
from ase_vibent.model.posterior import Posterior
from ase_vibent.model.prediction import Prediction
from ase_vibent.neighbours.lists import NeighbourLists
from ase_vibent.quantities import TARGETS, TargetName, how_to_label
from ase_vibent.structures.atom_types import species_indices

_ARRAYS = ("constants", "weights", "shift", "scale")
#: Optional parts by the name of the attribute.
_PARTS: dict[str, type[ModelPart]] = {
    "curvature": Curvature,
    "posterior": Posterior,
    "domain": TrainingDomain,
    "moments": MomentModel,
    "finite_size": FiniteSize,
    "floor": Floor,
}


@dataclass(frozen=True)
class SiteModel:
    """Site model v_i = c_z + w_z · x_i + x_iᵀ W_z x_i, x_i = D_i - shift_z.

    [Lapointe2020] (13)-(15), [Lapointe2022] (16).

    z is the kind of site i: its species or sublattice. The constants are thermodynamic limits
    of the perfect crystal, so the model is strictly extensive. Its target is one of
    `TARGETS`: for "entropy" the values are mass-free reduced site entropies in units of
    k_B, for "energy" shares of the potential energy in eV.

    Attributes
    ----------
    descriptor : Descriptor
    constants : ndarray, shape (n_kinds,)
    weights : ndarray, shape (n_kinds, n_features)
    shift : ndarray, shape (n_kinds, n_features)
        Features of the perfect crystal, or their mean.
    scale : ndarray, shape (n_kinds, n_features)
        Column scale of the fit, kept for statistics; already contained in the weights.
    target : str
    header : dict
        What a reader of the file should know: solver, training errors, data checksum.
    curvature : Curvature, optional
        W; the model is linear without.
    posterior : Posterior, optional
        Uncertainty of the linear coefficients.
    domain : TrainingDomain, optional
        Environments the model was trained on.
    moments : MomentModel, optional
        Moments of local densities of states, for quantum statistics.
    finite_size : FiniteSize, optional
        Error in cells larger than those of the training.
    floor : Floor, optional
        Stiffness as which all softer modes count; what they have beyond it is no part of the model.
    """

    descriptor: Descriptor
    constants: Array
    weights: Array
    shift: Array
    scale: Array
    target: TargetName = "entropy"
    header: dict[str, Any] = field(default_factory=dict)
    curvature: Curvature | None = None
    posterior: Posterior | None = None
    domain: TrainingDomain | None = None
    moments: MomentModel | None = None
    finite_size: FiniteSize | None = None
    floor: Floor | None = None

    def __post_init__(self) -> None:
        check_choice("target", self.target, TARGETS)
        shape = len(self.descriptor.species), self.descriptor.n_features
        for name in _ARRAYS:
            array, expected = getattr(self, name), shape[:1] if name == "constants" else shape
            if array.shape != expected or not np.all(np.isfinite(array)):
                raise InvalidInputError(
                    f"{name}: expected finite numbers of shape {expected}, got shape {array.shape}"
                )
        for name, part in self._parts().items():
            if not part.fits(*shape):
                raise InvalidInputError(
                    f"{name}: made for other atom types or features than {shape}"
                )

    def _parts(self) -> dict[str, ModelPart]:
        return {name: part for name in _PARTS if (part := getattr(self, name)) is not None}

    @property
    def species(self) -> Sequence[str]:
        """Kinds of sites the model knows."""
        return self.descriptor.species

    def evaluate(
        self, atoms: Atoms, *, gradient: bool = True, lists: NeighbourLists | None = None
    ) -> SiteSums:
        """Site values, gradient and strain derivative of their sum.

        Parameters
        ----------
        atoms : Atoms
        gradient : bool
            Whether derivatives are wanted.
        lists : NeighbourLists, optional
            Keeps the neighbours for structures that differ little.

        Returns
        -------
        SiteSums
        """
        return self._evaluate(atoms, gradient, lists, ())

    def predict(
        self,
        atoms: Atoms,
        *,
        gradient: bool = True,
        uncertainty: bool = False,
        grades_above: float | None = None,
        lists: NeighbourLists | None = None,
    ) -> Prediction:
        """Site values and what the model knows of its errors, in one pass and bounded memory.

        Parameters
        ----------
        atoms : Atoms
        gradient, lists
            As in `evaluate`.
        uncertainty : bool
            Whether standard deviations are wanted, see `uncertainty`.
        grades_above : float, optional
            Extrapolation grades are wanted, exact where they are above this, of others an upper
            bound that is not: 0 for all.

        Returns
        -------
        Prediction

        Raises
        ------
        InvalidInputError
            If the model does not know what is wanted.
        """
        wanted = []
        if grades_above is not None:
            squared_grade = self._require_domain().squared_grade
            wanted.append(squared_grade._replace(enough=float(grades_above) ** 2))
        if uncertainty:
            wanted.append(self._variance)
        sums = self._evaluate(atoms, gradient, lists, wanted)
        std, site_stds = None, None
        if uncertainty:
            std, site_stds = self._stds(sums, species_indices(atoms, self.species))
        grades = None if grades_above is None else np.sqrt(sums.forms[0].values)
        return Prediction(sums.values, sums.gradient, sums.strain, std, site_stds, grades)

    def _evaluate(
        self,
        atoms: Atoms,
        gradient: bool,
        lists: NeighbourLists | None,
        forms: Sequence[QuadraticForm],
    ) -> SiteSums:
        offsets = self.constants
        if self.curvature is None:
            sums = self.descriptor.linear_model(
                atoms, self.weights, gradient=gradient, lists=lists, forms=forms
            )
            offsets = offsets - np.einsum("zf,zf->z", self.weights, self.shift)
        else:
            sums = self.descriptor.site_model(
                atoms, self._quadratic(), gradient=gradient, lists=lists, forms=forms
            )
        return replace(sums, values=sums.values + offsets[species_indices(atoms, self.species)])

    def _stds(self, sums: SiteSums, kinds: NDArray[np.int64]) -> tuple[float, Array]:
        """Standard deviations of the total and of the sites; the last form is their variance."""
        counts = np.bincount(kinds, minlength=len(self.constants))
        total, sites = self._require_posterior().std_of_variances(sums.forms[-1], counts)
        if self.finite_size is None:
            return total, sites
        too_small = self.finite_size.site_stds(sums.values - self.constants[kinds])
        return float(np.hypot(total, too_small.sum())), np.hypot(sites, too_small)

    def _quadratic(self) -> Quadratic:
        """All but the constants as a function of the features."""
        curvature = self.curvature
        if curvature is None:
            n_kinds, n_features = self.weights.shape
            curvature = Curvature(np.zeros((n_kinds, 0, n_features)), np.zeros((n_kinds, 0)))
        return Quadratic(self.weights, curvature.factors, curvature.curvatures, self.shift)

    def site_gradients(self, atoms: Atoms) -> Array:
        """Gradients of every site value with respect to every position.

        Parameters
        ----------
        atoms : Atoms
            Small: memory grows with N² times the number of features.

        Returns
        -------
        ndarray, shape (N, N, 3), 1/Å
            The site comes first.
        """
        kinds = species_indices(atoms, self.species)
        _, slopes = self._quadratic()(self.descriptor.compute(atoms), kinds)
        features = self.descriptor.compute_site_gradients(atoms)
        return np.einsum("inaf,if->ina", features, slopes)

    def force_constants(self, atoms: Atoms, displaced: Sequence[int]) -> Array:
        """Rows of the Hessian of the sum of all values, by differences of gradients.

        Parameters
        ----------
        atoms : Atoms
        displaced : sequence of int, shape (m,)
            The atoms that the rows belong to.

        Returns
        -------
        ndarray, shape (m, 3, N, 3), units of the values per Å²
        """

        def gradients(other: Atoms) -> Any:
            return self.evaluate(other).gradient

        return np.array([displaced_differences(gradients, atoms, int(k)) for k in displaced])

    def quantum_sites(
        self,
        atoms: Atoms,
        reduced: SiteSums | Prediction,
        temperature: float,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
    ) -> SiteThermodynamics:
        """Entropies and free energies of what the model predicts, see `MomentModel.evaluate`."""
        return self.require_moments().evaluate(
            self.descriptor, atoms, reduced, temperature, gradient=gradient, lists=lists
        )

    def require_moments(self) -> MomentModel:
        """The moment model.

        Raises
        ------
        InvalidInputError
            If the model was trained without.
        """
        if self.moments is None:
            raise InvalidInputError(
                "quantum: the model has no moments of densities of states; label with "
                f"{how_to_label('moments')}, the perfect crystal too, and train again"
            )
        return self.moments

    def require_no_floor(self, what: str) -> None:
        """Raise InvalidInputError if soft modes are left out, where whole entropies are wanted."""
        if self.floor is not None:
            raise InvalidInputError(
                f"model: it counts modes softer than {self.floor.value:g} eV/Å² as that stiff, and "
                f"{what}; train one on labels without a floor"
            )

    def uncertainty(self, atoms: Atoms) -> tuple[float, Array]:
        """Standard deviations of the total and of the site values.

        What the fit leaves uncertain, and in cells larger than those of the training what these
        were too small for, see `FiniteSize`.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        total : float
        sites : ndarray, shape (N,)

        Raises
        ------
        InvalidInputError
            If the model keeps no posterior covariance.
        """
        predicted = self.predict(atoms, gradient=False, uncertainty=True)
        assert predicted.std is not None
        assert predicted.site_stds is not None
        return predicted.std, predicted.site_stds

    def difference_std(self, atoms: Atoms, other: Atoms) -> float:
        """Standard deviation of the difference of two structures' totals.

        Parameters
        ----------
        atoms, other : Atoms
            The same atom types in the same order.

        Returns
        -------
        float

        Raises
        ------
        InvalidInputError
            If the model keeps no posterior covariance, or the sites differ.
        """
        (centred, kinds), (others, other_kinds) = (
            self._centre_features(atoms),
            self._centre_features(other),
        )
        if not np.array_equal(kinds, other_kinds):
            raise InvalidInputError("other: expected the same atom types in the same order")
        total = self._require_posterior().difference_std(centred, others, kinds)
        if self.finite_size is None:
            return total
        change = self.deviations(atoms) - self.deviations(other)
        return float(np.hypot(total, self.finite_size.site_stds(change).sum()))

    def combination_std(self, terms: Sequence[tuple[float, Atoms]]) -> float:
        """Standard deviation of a sum of totals in which what is common cancels.

        Parameters
        ----------
        terms : sequence of (float, Atoms)
            Factors and structures.

        Returns
        -------
        float
            NaN if the model keeps no posterior covariance.
        """
        if self.posterior is None:
            return float("nan")
        sums = [self._evaluate(atoms, False, None, [self._variance]) for _, atoms in terms]
        kinds = [species_indices(atoms, self.species) for _, atoms in terms]
        return self.posterior.combination_std(
            [
                (factor, own.forms[0].sums, np.bincount(of_atoms, minlength=len(self.constants)))
                for (factor, _), own, of_atoms in zip(terms, sums, kinds, strict=True)
            ]
        )

    def deviations(self, atoms: Atoms) -> Array:
        """What the sites have beyond those of the perfect crystal, shape (N,)."""
        kinds = species_indices(atoms, self.species)
        return self.evaluate(atoms, gradient=False).values - self.constants[kinds]

    def _centre_features(self, atoms: Atoms) -> tuple[Array, NDArray[np.int64]]:
        """Features less the shift, and the atom types."""
        kinds = species_indices(atoms, self.species)
        return self.descriptor.compute(atoms) - self.shift[kinds], kinds

    def _require_posterior(self) -> Posterior:
        if self.posterior is None:
            raise InvalidInputError(
                "model: keeps no posterior covariance; train it on more rows than it has "
                "coefficients"
            )
        return self.posterior

    def extrapolation_grades(self, atoms: Atoms, *, lists: NeighbourLists | None = None) -> Array:
        """How far every atom's environment is from those of the training set; see `TrainingDomain`.

        Parameters
        ----------
        atoms : Atoms
        lists : NeighbourLists, optional
            As in `evaluate`.

        Returns
        -------
        ndarray, shape (N,)
            1 is the edge of the training set.

        Raises
        ------
        InvalidInputError
            If the model does not know its training set.
        """
        grades = self.predict(atoms, gradient=False, grades_above=0.0, lists=lists).grades
        assert grades is not None
        return grades

    @cached_property
    def _variance(self) -> QuadraticForm:
        return self._require_posterior().variance(self.shift)

    def _require_domain(self) -> TrainingDomain:
        if self.domain is None:
            raise InvalidInputError("model: does not keep which environments it was trained on")
        return self.domain

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the coefficient file: whole under its final name, or not at all.

        Parameters
        ----------
        path : path

        Raises
        ------
        ModelFileError
            If the file cannot be written.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for name, part in self._parts().items():
            arrays |= {f"{name}.{key}": array for key, array in part.arrays().items()}
        header = {
            **self.header,
            "target": self.target,
            "descriptor": self.descriptor.to_dict(),
            "parts": sorted(self._parts()),
        }
        write_archive(path, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SiteModel:
        """Read a coefficient file; never runs code from it.

        Parameters
        ----------
        path : path

        Returns
        -------
        SiteModel

        Raises
        ------
        ModelFileError
            If the file is missing, truncated, altered, foreign, or too new, or what it holds is no
        model, or one that would take minutes to make.
        """
        header, arrays = read_archive(path)
        try:
            descriptor = descriptor_from_dict(header.pop("descriptor"))
            target = str(header.pop("target"))
            parts = {
                name: _PARTS[name](
                    **{
                        key.removeprefix(f"{name}."): array
                        for key, array in arrays.items()
                        if key.startswith(f"{name}.")
                    }
                )
                for name in header.pop("parts")
            }
            numbers = {name: arrays[name] for name in _ARRAYS}
            unknown = {name for name in arrays if name.partition(".")[0] not in {*_ARRAYS, *parts}}
            if unknown:
                raise InvalidInputError(f"{min(unknown)}: array of no part")
            return cls(descriptor, **numbers, target=target, header=header, **parts)  # type: ignore[arg-type]
        except Exception as error:  # whatever a foreign header leads to
            raise ModelFileError(
                f"{path}: its content makes no model ({type(error).__name__}: {error})"
            ) from error
