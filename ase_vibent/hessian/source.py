"""Where one entropy calculator takes its Hessians from, structure after structure."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import compare_atoms

from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.harmonic.step_error import StepError
from ase_vibent.hessian.compute import compute_hessian, takes_analytic_hessian
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.finite_differences import NOISE, TRUNCATED
from ase_vibent.hessian.matrices import Matrix
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.hessian.readers import as_stored_hessians
from ase_vibent.hessian.step import NOISY, PATTERNS, STEPS, measure_step, report_step
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.validity import free_atoms


class HessianSource:
    """A given matrix or function, a calculator, or both.

    A matrix belongs to the first structure that it is asked for; all others are left to the
    calculator.

    Parameters
    ----------
    calculator : ASE calculator or factory, optional
    given : callable (atoms) -> matrix, matrix, StoredHessian, path, or list of these, optional
        In eV/Å², in any shape that `compute_hessian` takes. What is stored, or in a file, says
        itself whose it is.

    Raises
    ------
    InvalidInputError
        If there is neither.
    """

    def __init__(self, calculator: object, given: Any):
        if calculator is None and given is None:
            raise InvalidInputError(
                "calculator: expected an ASE calculator, a factory of one, or hessian=…; got none"
            )
        self.calculator: Any = None if calculator is None else resolve_calculator(calculator)
        #: Hessians that know their structures.
        self.stored = as_stored_hessians(given)
        self._given: Any = given if self.stored is None else self.stored
        self._owner: Atoms | None = None

    def __call__(
        self,
        atoms: Atoms,
        options: HessianOptions = HessianOptions(),
        *,
        sparse: bool = False,
        truncation: float = NOISE,
    ) -> Matrix:
        """Hessian of the free atoms, as `compute_hessian` makes it; a given one is what it is.

        Raises
        ------
        InvalidInputError
            Also if there is nothing but another structure's matrix.
        """
        given = self._given_for(atoms)
        if given is not None:
            options = replace(options, method="auto")
        hessian = compute_hessian(
            atoms,
            self.calculator,
            hessian=given,
            options=options,
            sparse=sparse,
            truncation=truncation,
        )
        if given is not None and not callable(given) and self._owner is None:
            self._owner = atoms.copy()
        return hessian

    def checked(
        self, atoms: Atoms, options: HessianOptions = HessianOptions()
    ) -> tuple[Matrix, StepError | None]:
        """Dense Hessian, and how far it is off where it comes from differences of forces.

        What an interaction range leaves out is a part of that.

        Raises
        ------
        CalculatorError
            Also if it is noise.

        Warns
        -----
        UserWarning
            If it is noisy.
        """
        if self._given_for(atoms) is not None or takes_analytic_hessian(self.calculator, options):
            return self(atoms, options), None
        displaced_forces = DisplacedForces(atoms, self.calculator, options=options)
        n_patterns = 1 if options.interaction_range is None else PATTERNS
        found: list[tuple[StepError, Matrix]] = []
        for step in STEPS if options.displacement == "auto" else (options.step,):
            try:
                with warnings.catch_warnings():
                    # What is noisy is said below, with numbers.
                    warnings.filterwarnings("ignore", "hessian: it is noisy")
                    stepped = replace(options, displacement=step)
                    hessian = self(atoms, stepped, truncation=TRUNCATED)
            except CalculatorError:
                if not found:
                    raise
                continue  # with a shorter step there may be nothing but noise
            error = measure_step(np.asarray(hessian), atoms, displaced_forces, step, n_patterns)
            found.append((error, hessian))
            if error.relative <= NOISY:
                break
        best, hessian = min(found, key=lambda one: one[0].relative)
        report_step(best, self.calculator)
        return hessian, best

    def _given_for(self, atoms: Atoms) -> Any:
        """What is given for a structure; None if it is left to the calculator."""
        if self.stored is not None and self.calculator is not None and not self.stored.find(atoms):
            return None
        if self._given is None or callable(self._given) or self._owned_by(atoms):
            return self._given
        if self.calculator is None:
            raise InvalidInputError(
                "hessian: the matrix belongs to the structure that was calculated first; "
                "for others pass a function (atoms) -> matrix, or a calculator"
            )
        return None

    def _owned_by(self, atoms: Atoms) -> bool:
        """Whether the given matrix is this structure's, or nobody's so far."""
        if self._owner is None:
            return True
        changes = compare_atoms(self._owner, atoms, tol=1e-12)
        if {"positions", "numbers", "cell", "pbc"}.intersection(changes):
            return False
        # A matrix of the free atoms alone does not serve others that are free.
        shape = np.shape(self._given) if not hasattr(self._given, "shape") else self._given.shape
        whole = shape[0] == (len(atoms) if len(shape) == 4 else 3 * len(atoms))
        return whole or np.array_equal(free_atoms(self._owner), free_atoms(atoms))
