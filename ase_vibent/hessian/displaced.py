"""Forces of displaced copies of a structure, and which of its atoms may be displaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from ase_vibent.arrays import Array, from_tensor
from ase_vibent.errors import CalculatorError
from ase_vibent.harmonic.gradient import ForcesAndVirial
from ase_vibent.hessian.batches import forces_batch
from ase_vibent.hessian.cache import DisplacementCache
from ase_vibent.hessian.costs import Costs
from ase_vibent.hessian.embedded_atom import eam_hessian, is_matscipy_eam
from ase_vibent.potentials import calculator_failures, require_numbers
from ase_vibent.structures import check_structure


class DisplacedForces:
    """Forces and virials of displaced copies of one structure, and their second derivatives.

    Copies carry no constraint (FixAtoms would block the displacement without a word) and
    keep initial magnetic moments and charges. Every call gets a copy of its own, whatever the
    calculator does to it.

    Parameters
    ----------
    atoms : Atoms
    calculator : ASE calculator
    virial : bool
        Whether responses carry the virial.
    cache : path of a folder, optional
        Where every finished response is kept; see `DisplacementCache`.

    Raises
    ------
    InvalidStructureError
        If the structure is unusable.
    InvalidInputError
        If the folder is.
    """

    def __init__(
        self,
        atoms: Atoms,
        calculator: object,
        *,
        virial: bool = False,
        cache: str | os.PathLike[str] | None = None,
    ):
        check_structure(atoms)
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._rest = self._atoms.positions.copy()
        #: Of the structure.
        self.n_atoms = len(atoms)
        #: Whose forces they are.
        self.calculator: Any = calculator
        self._virial = virial
        self._costs: Costs | None = None
        self._batch = None if virial else forces_batch(calculator)  # batches carry no virials
        self._cache = None if cache is None else DisplacementCache(cache, self._atoms, calculator)

    def expect(self, what: str, n_calls: int, advice: str = "") -> None:
        """See `SupportsCurvature.expect`."""
        self._costs = Costs(what, n_calls, self.n_atoms, advice)

    def property(self, name: str) -> Any:
        """Raw property of the structure as it is now displaced, checked to be numbers."""
        return self._call(name, lambda: self.calculator.get_property(name, self._atoms.copy()))

    def hessian(self) -> Any:
        """Result of the calculator's `get_hessian` for the structure, or the same in less time."""
        if is_matscipy_eam(self.calculator):
            return self._call("Hessian", lambda: eam_hessian(self._atoms, self.calculator))
        # matscipy's many-body calculator trips over a structure it has not seen yet.
        self.property("energy")
        return self._call("Hessian", lambda: self.calculator.get_hessian(self._atoms.copy()))

    def _call(self, name: str, function: Callable[[], Any]) -> Any:
        """Result of a function of the calculator, checked to be numbers."""
        with calculator_failures(self.calculator, name):
            value = from_tensor(function())
        require_numbers(self.calculator, name, value)
        return value

    def curvatures(self, patterns: Array, displacement: float) -> Iterator[ForcesAndVirial]:
        """See `SupportsCurvature.curvatures`.

        Exact where the calculator offers `get_force_curvature(atoms, pattern)` and no virial is
        wanted; otherwise two force calls each, beside one for the structure itself.
        """
        if not self._virial and hasattr(self.calculator, "get_force_curvature"):
            yield from map(self._exact_curvature, patterns)
            return
        steps = displacement / np.linalg.norm(patterns, axis=2).max(axis=1)
        responses = self.responses(
            sign * step * x for x, step in zip(patterns, steps, strict=True) for sign in (1, -1)
        )
        for x, step in zip(patterns, steps, strict=True):
            yield self._curvature(x, step, next(responses), next(responses))

    def _exact_curvature(self, pattern: Array) -> ForcesAndVirial:
        self._atoms.positions = self._rest
        curvature = self._call(
            "second derivative of forces",
            lambda: self.calculator.get_force_curvature(self._atoms.copy(), pattern),
        )
        return ForcesAndVirial(np.asarray(curvature, dtype=float), None)

    def _curvature(
        self, pattern: Array, step: float, plus: ForcesAndVirial, minus: ForcesAndVirial
    ) -> ForcesAndVirial:
        rest = self._at_rest
        forces = (plus.forces + minus.forces - 2 * rest.forces) / step**2
        if rest.virial is None or plus.virial is None or minus.virial is None:
            return ForcesAndVirial(forces, None)
        # d²/dt² [V σ + t x ⊗ F]: the second term undoes the straining of t x.
        virial = (plus.virial + minus.virial - 2 * rest.virial) / step**2
        virial += 2 * pattern.T @ (plus.forces - minus.forces) / (2 * step)
        return ForcesAndVirial(forces, virial)

    @cached_property
    def _at_rest(self) -> ForcesAndVirial:
        return self(np.zeros_like(self._rest))

    def __call__(self, displacement: Array) -> ForcesAndVirial:
        """Response at a displacement, shape (N, 3), Å."""
        return next(self.responses([displacement]))

    def responses(self, displacements: Iterable[Array]) -> Iterator[ForcesAndVirial]:
        """Responses at many displacements, in order, as they are asked for.

        Those of a batch are computed at once where the calculator can; see `forces_batch`.

        Parameters
        ----------
        displacements : iterable of ndarray, shape (N, 3), Å

        Yields
        ------
        ForcesAndVirial

        Raises
        ------
        CalculatorError
            If the calculator fails; what was finished before is in the cache.
        """
        size = 1 if self._batch is None else max(1, self._batch.most_atoms // self.n_atoms)
        remaining = iter(displacements)
        while chunk := list(islice(remaining, size)):
            if self._cache is None:
                yield from self._respond(chunk)
            else:
                yield from self._cache.responses(chunk, self._respond, virial=self._virial)

    def changes(self, displacements: Iterable[Array]) -> Iterator[Array]:
        """Forces at displacements less those at the opposite ones.

        Parameters
        ----------
        displacements : iterable of ndarray, shape (N, 3), Å

        Yields
        ------
        ndarray, shape (N, 3), eV/Å
        """
        responses = self.responses(sign * shift for shift in displacements for sign in (1, -1))
        for forward, backward in zip(responses, responses, strict=True):
            yield forward.forces - backward.forces

    def _respond(self, displacements: Iterable[Array]) -> Iterator[ForcesAndVirial]:
        """Computed now: a batch at once, and otherwise one by one."""
        if self._batch is None:
            yield from map(self._respond_singly, displacements)
            return
        structures = [self._displaced(displacement).copy() for displacement in displacements]
        with self._timed(len(structures)), calculator_failures(self.calculator, "forces"):
            batch = list(self._batch.forces(structures))
        if len(batch) != len(structures):
            raise CalculatorError(
                f"calculator: {type(self.calculator).__name__} was asked for forces of a batch of "
                f"{len(structures)} structures, and gave those of {len(batch)}"
            )
        for forces in batch:
            require_numbers(self.calculator, "forces", forces)
            yield ForcesAndVirial(self._checked(forces), None)

    def _respond_singly(self, displacement: Array) -> ForcesAndVirial:
        self._displaced(displacement)
        with self._timed(1):
            forces = self._checked(self.property("forces"))
        if not self._virial:
            return ForcesAndVirial(forces, None)
        stress = np.asarray(self.property("stress"), dtype=float)
        full = stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        return ForcesAndVirial(forces, self._atoms.get_volume() * full)

    def _timed(self, n_calls: int) -> AbstractContextManager[None]:
        return nullcontext() if self._costs is None else self._costs.timed(n_calls)

    def _displaced(self, displacement: Array) -> Atoms:
        self._atoms.positions = self._rest + displacement
        return self._atoms

    def _checked(self, given: Any) -> Array:
        forces = np.array(given, dtype=float)
        if forces.shape != self._rest.shape:
            raise CalculatorError(
                f"calculator: {type(self.calculator).__name__} gave forces of shape {forces.shape} "
                f"for {len(self._rest)} atoms"
            )
        return forces
