"""Forces of displaced copies of a structure, and which of its atoms may be displaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from ase_vibent.arrays import Array, from_tensor
from ase_vibent.errors import CalculatorError
from ase_vibent.harmonic.gradient import ForcesAndVirial
from ase_vibent.hessian.batches import forces_batch
from ase_vibent.hessian.cache import DisplacementCache
from ase_vibent.hessian.costs import Costs
from ase_vibent.hessian.embedded_atom import eam_hessian, is_matscipy_eam
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.potentials import calculator_failures, pace_of, require_numbers
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
    options : HessianOptions
        Where finished responses are kept; nothing else plays a part.

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
        options: HessianOptions = HessianOptions(),
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
        self._pace = pace_of(calculator)
        batch = forces_batch(calculator)
        self._batch = batch if batch is not None and (batch.has_stress or not virial) else None
        self._cache = self._cache_of(options)

    def _cache_of(self, options: HessianOptions) -> DisplacementCache | None:
        if options.cache is None:
            return None
        least = options.cache_threshold
        slow = None if least == 0 else lambda: self._pace.seconds(self.n_atoms) >= least
        return DisplacementCache(options.cache, self._atoms, self.calculator, slow)

    def expect(self, what: str, n_calls: int, advice: str = "") -> None:
        """See `SupportsCurvature.expect`."""
        kept = self._cache is not None
        self._costs = Costs(what, n_calls, self.n_atoms, self._pace, advice=advice, kept=kept)

    def property(self, name: str) -> Any:
        """Raw property of the structure as it is now displaced, checked to be numbers."""
        value = from_tensor(self._asked(name))
        require_numbers(self.calculator, name, value)
        return value

    def hessian(self) -> Any:
        """Result of the calculator's `get_hessian` for the structure, or the same in less time."""
        if is_matscipy_eam(self.calculator):
            return self._call("Hessian", lambda: eam_hessian(self._atoms, self.calculator))
        # matscipy's many-body calculator trips over a structure it has not seen yet.
        self.property("energy")
        return self._call("Hessian", lambda: self.calculator.get_hessian(self._atoms.copy()))

    def _asked(self, name: str) -> Any:
        """What the calculator gives for the structure as it is now displaced."""
        with calculator_failures(self.calculator, name):
            return self.calculator.get_property(name, self._atoms.copy())

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
        rest = self.at_rest
        forces = (plus.forces + minus.forces - 2 * rest.forces) / step**2
        if rest.virial is None or plus.virial is None or minus.virial is None:
            return ForcesAndVirial(forces, None)
        # d²/dt² [V σ + t x ⊗ F]: the second term undoes the straining of t x.
        virial = (plus.virial + minus.virial - 2 * rest.virial) / step**2
        virial += 2 * pattern.T @ (plus.forces - minus.forces) / (2 * step)
        return ForcesAndVirial(forces, virial)

    @cached_property
    def at_rest(self) -> ForcesAndVirial:
        """Response of the structure itself."""
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
            yield from self._respond(chunk) if self._cache is None else self._cached(chunk)

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

    def _cached(self, chunk: list[Array]) -> list[ForcesAndVirial]:
        """Stored, or computed and stored."""
        assert self._cache is not None
        missing: list[Array] = []

        def compute(displacements: list[Array]) -> Iterator[ForcesAndVirial]:
            missing.extend(displacements)
            return self._respond(displacements)

        found = self._cache.responses(chunk, compute, virial=self._virial)
        if self._costs is not None:
            self._costs.stored(len(chunk) - len(missing))
        return found

    def _respond(self, displacements: Iterable[Array]) -> Iterator[ForcesAndVirial]:
        """Computed now: a batch at once, and otherwise one by one."""
        if self._batch is None:
            yield from map(self._respond_singly, displacements)
            return
        structures = [self._displaced(displacement).copy() for displacement in displacements]
        with self._timed(len(structures)), calculator_failures(self.calculator, "forces"):
            batch = list(self._batch.responses(structures, self._virial))
        if len(batch) != len(structures):
            raise CalculatorError(
                f"calculator: {type(self.calculator).__name__} was asked for forces of a batch of "
                f"{len(structures)} structures, and gave those of {len(batch)}"
            )
        for forces, stress in batch:
            yield self._response(forces, stress)

    def _respond_singly(self, displacement: Array) -> ForcesAndVirial:
        self._displaced(displacement)
        with self._timed(1):
            forces = self._asked("forces")
            stress = self._stress() if self._virial else None
        return self._response(forces, stress)

    def _stress(self) -> Any:
        """Of the structure whose forces were asked for just before."""
        calculator = self.calculator
        own = getattr(type(calculator), "get_property", None) is BaseCalculator.get_property
        if own and "stress" in calculator.implemented_properties:
            # That method would compare structures first, and give what is there as well.
            stress = calculator.results.get("stress")
            if stress is not None:
                return stress
        return self._asked("stress")

    @contextmanager
    def _timed(self, n_calls: int) -> Iterator[None]:
        with self._pace.timed(self.n_atoms, n_calls):
            yield
        if self._costs is not None:
            self._costs.done(n_calls)

    def _displaced(self, displacement: Array) -> Atoms:
        self._atoms.positions = self._rest + displacement
        return self._atoms

    def _response(self, forces: Any, stress: Any) -> ForcesAndVirial:
        """What a calculator gave, checked."""
        forces = self._numbers("forces", forces)
        if forces.shape != self._rest.shape:
            raise CalculatorError(
                f"calculator: {type(self.calculator).__name__} gave forces of shape {forces.shape} "
                f"for {self.n_atoms} atoms"
            )
        if not self._virial:
            return ForcesAndVirial(forces, None)
        stress = self._numbers("stress", stress)
        if stress.shape not in ((6,), (3, 3)):
            raise CalculatorError(
                f"calculator: {type(self.calculator).__name__} gave a stress of shape "
                f"{stress.shape}; expected (6,), as ASE has it, or (3, 3)"
            )
        full = stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        return ForcesAndVirial(forces, self._atoms.get_volume() * full)

    def _numbers(self, name: str, value: Any) -> Array:
        value = from_tensor(value)
        require_numbers(self.calculator, name, value)
        return np.array(value, dtype=float)
