"""F_vib(T) of a site model as a force field of a running LAMMPS: a fix of the style external."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ase_vibent.arrays import Array
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.calculators.surrogate_base import EXTRAPOLATION_LIMIT
from ase_vibent.checks import check_integer
from ase_vibent.errors import (
    CalculatorError,
    ExtrapolationError,
    ExtrapolationWarning,
    InvalidInputError,
    VibentError,
    reason,
)
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics, check_temperature
from ase_vibent.lammps.domain import AtomTypes, Domain
from ase_vibent.lammps.library import failures_of, ghost_cutoff, ranks_of

#: Beyond cutoff and the skin of our lists, ghosts are kept to this distance, Å: LAMMPS' own skin
#: in metal units, by which atoms approach each other before it looks for ghosts anew.
GHOST_MARGIN = 2.0


class EntropyFix:
    """Adds F_vib(T) of a site model to whatever potential a LAMMPS instance has.

    A fix of LAMMPS' style external, on any number of MPI ranks, for `run` and `minimize`. Every
    rank evaluates the sites of its own atoms; forces on ghosts go to the atoms' ranks. LAMMPS sees

    - f_vibent: F_vib(T), eV, part of the potential energy (`thermo_style custom … f_vibent`);
    - f_vibent[1], f_vibent[2], f_vibent[3]: entropy (eV/K), temperature (K), and the largest
      extrapolation grade when it was last looked for;
    - d_vibent_entropy, d_vibent_grade: site entropies (eV/K) of the present step and grades of the
      last look, atom by atom, for `dump custom` and all that takes properties of atoms;
    - forces, the virial in the pressure, energies for `compute pe/atom`, but for minimizations,
      where LAMMPS does not ask external fixes for these: `run 0` afterwards. There are no virials
      of single atoms: `compute stress/atom` lacks this fix.

    Parameters
    ----------
    engine : lammps.lammps
        Metal units; box, atom types and masses are there.
    calculator : SiteEntropyCalculator
        Holds model, temperature, statistics and policy on extrapolation. Its temperature may be
        set anew between runs.
    elements : sequence of str
        For every atom type a chemical symbol, as in `pair_coeff`; "Cd:1" where the model
        resolves sublattices.
    temperature : callable (step) -> K, or str, optional
        Instead of the calculator's: asked at every step, on every rank; or the name of an
        equal-style variable of LAMMPS, such as a ramp.
    name : str
        Of the fix, instead of "vibent" above.
    check_every : int
        "warn" and "raise" look at extrapolation grades when neighbours are found anew, but only
        after as many steps. "warn" speaks once, f_vibent[3] goes on.

    Raises
    ------
    InvalidInputError
        If elements, units, ranks or the temperature do not fit.

    Notes
    -----
    What goes wrong at a step ends the run, and on all ranks LAMMPS' command raises what it was
    (CalculatorError, ExtrapolationError). For all else, lest one rank wait for another that is
    gone, start scripts by `mpiexec -n 2 python -m mpi4py script.py`.

    Examples
    --------
    >>> from ase_vibent import SiteEntropyCalculator
    >>> from ase_vibent.lammps import EntropyFix, open_lammps
    >>> lmp = open_lammps()
    >>> lmp.commands_string('''
    ... units metal
    ... lattice diamond 5.431
    ... region box block 0 3 0 3 0 3
    ... create_box 1 box
    ... create_atoms 1 box
    ... mass 1 28.0855
    ... pair_style zero 5.0
    ... pair_coeff * *
    ... ''')
    >>> entropic = SiteEntropyCalculator.from_pretrained("si-sw", temperature=600)
    >>> fix = EntropyFix(lmp, entropic, ["Si"])
    >>> lmp.command("run 0")
    >>> print(f"{lmp.get_thermo('pe') / lmp.get_natoms():.3f} eV per atom")
    -0.033 eV per atom
    >>> lmp.numpy.extract_atom("d_vibent_entropy").shape
    (216,)
    """

    def __init__(
        self,
        engine: Any,
        calculator: SiteEntropyCalculator,
        elements: Sequence[str],
        *,
        temperature: Callable[[int], float] | str | None = None,
        name: str = "vibent",
        check_every: int = 100,
    ):
        check_integer("check_every", check_every, 1)
        if not isinstance(calculator, SiteEntropyCalculator):
            raise InvalidInputError(
                f"calculator: expected a SiteEntropyCalculator, got {type(calculator).__name__}"
            )
        if engine.extract_setting("box_exist") != 1:
            raise InvalidInputError("engine: LAMMPS has no box yet; create or read one first")
        units = engine.extract_global("units")
        if units != "metal":
            raise InvalidInputError(f"engine: expected LAMMPS in metal units, got {units}")
        if engine.has_id("fix", name):
            raise InvalidInputError(f"name: LAMMPS has a fix {name!r} already; take another")
        if isinstance(temperature, str) and not engine.has_id("variable", temperature):
            raise InvalidInputError(f"temperature: LAMMPS has no variable {temperature!r}")
        self.name = name
        self._engine, self._calculator, self._temperature = engine, calculator, temperature
        self._ranks, self._failures = ranks_of(engine), failures_of(engine)
        calculator.model.require_no_floor("a fix finds no soft modes")
        types = AtomTypes(elements, calculator.model.species, engine.extract_setting("ntypes"))
        self._domain = Domain(engine, self._ranks, types)
        cutoff = calculator.model.descriptor.cutoff
        self._reach = cutoff + self._domain.lists.skin + GHOST_MARGIN
        self._check_every = check_every
        self._checked: int | None = None
        self._grade, self._warned = 0.0, False
        self._ranks.share_cores()
        self._start()

    def _start(self) -> None:
        """Tell LAMMPS of the fix."""
        engine, name = self._engine, self.name
        if ghost_cutoff(engine, self._ranks) < self._reach:
            engine.command(f"comm_modify cutoff {self._reach}")
        engine.command(f"fix {name} all external pf/callback 1 1")
        engine.command(f"fix_modify {name} energy yes virial yes")
        engine.command(f"fix {name}_sites all property/atom d_{name}_entropy d_{name}_grade")
        engine.fix_external_set_vector_length(name, 3)
        engine.set_fix_external_callback(name, self._called)

    def remove(self) -> None:
        """Take the fix out of LAMMPS."""
        self._engine.command(f"unfix {self.name}")
        self._engine.command(f"unfix {self.name}_sites")

    def _called(
        self, _: Any, step: int, n_atoms: int, tags: Any, positions: Any, forces: Any
    ) -> None:
        """What LAMMPS calls at every step; no error passes through it."""
        forces[:] = 0.0
        if not self._failures:
            try:
                failure = self._step(step, forces)
            except BaseException as error:
                if self._ranks.size > 1:  # the others may wait for this one
                    said = f"fix {self.name}: rank {self._ranks.rank} ends all: {reason(error)}"
                    self._ranks.abort(f"{traceback.format_exc()}{said}")
                failure = self._failure(step, reason(error), error)
            if failure is not None:
                self._failures.append(failure)
        if self._failures:
            self._engine.force_timeout()

    def _failure(
        self, step: int, message: str, cause: BaseException | None = None
    ) -> CalculatorError:
        failure = CalculatorError(f"fix {self.name}, step {step}: {message}")
        failure.__cause__ = cause
        return failure

    def _step(self, step: int, forces: Array) -> VibentError | None:
        """Evaluate and hand over, all ranks together.

        Returns
        -------
        VibentError or None
            On all ranks, if something went wrong on any.
        """
        domain, ranks = self._domain, self._ranks
        anew, values, temperature = domain.update(), None, np.nan
        totals, cause, message = np.zeros(9), None, ""
        try:
            temperature = self._temperature_at(step)
            values = domain.evaluate(
                self._calculator.model, temperature, quantum=self._calculator.parameters["quantum"]
            )
            totals[1:] = values.free_energies.sum(), values.entropies.sum(), *_virial(values)
        except Exception as error:
            totals[0], cause = 1, error
            message = f"{reason(error)} (rank {ranks.rank} of {ranks.size})"
        totals = ranks.total(totals)
        if values is None or totals[0]:
            said = next(word for word in ranks.gather(message) if word)
            return self._failure(step, said, cause)
        if anew and domain.missing_ghosts():
            return self._failure(
                step,
                "a rank lacks ghosts that the model reaches; set 'comm_modify cutoff' to "
                f"{self._reach:g} Å or more (cutoff, skin of neighbours, LAMMPS' own skin)",
            )
        far = self._look_at_grades(step) if anew and self._looks_due(step) else None
        if far is None:
            forces[:] = -domain.ghosts.fold(np.asarray(values.free_energy_gradient))
            self._hand_over(values, temperature, totals)
        return far

    def _temperature_at(self, step: int) -> float:
        chosen = self._temperature
        if chosen is None:
            return self._calculator.temperature
        if callable(chosen):
            return check_temperature(chosen(step))
        return check_temperature(self._engine.extract_variable(chosen))

    def _hand_over(self, values: SiteThermodynamics, temperature: float, totals: Array) -> None:
        """Energies, entropies and the virial to LAMMPS."""
        engine, name = self._engine, self.name
        engine.fix_external_set_energy_global(name, totals[1])
        engine.fix_external_set_virial_global(name, totals[3:])
        for number, value in enumerate((totals[2], temperature, self._grade), start=1):
            engine.fix_external_set_vector(name, number, value)
        n_atoms = self._domain.n_atoms
        if n_atoms:
            engine.numpy.fix_external_set_energy_peratom(name, values.free_energies)
            engine.numpy.extract_atom(f"d_{name}_entropy")[:n_atoms] = values.entropies

    def _looks_due(self, step: int) -> bool:
        if self._calculator.parameters["extrapolation"] == "ignore":
            return False
        last = self._checked
        return self._calculator.model.domain is not None and (
            last is None or not 0 <= step - last < self._check_every
        )

    def _look_at_grades(self, step: int) -> ExtrapolationError | None:
        """Follow the policy on extrapolation; an error on all ranks if it says so."""
        domain, ranks = self._domain, self._ranks
        self._checked = step
        grades = domain.extrapolation_grades(self._calculator.model)
        if domain.n_atoms:
            into = self._engine.numpy.extract_atom(f"d_{self.name}_grade")
            into[: domain.n_atoms] = grades
        n_far = int(np.sum(grades > EXTRAPOLATION_LIMIT))
        worst = (grades.max(), int(domain.tags[grades.argmax()])) if len(grades) else (0.0, 0)
        told = ranks.gather((n_far, worst, domain.n_atoms))
        (self._grade, farthest), total = max(k[1] for k in told), sum(k[0] for k in told)
        if not total:
            return None
        message = (
            f"fix {self.name}, step {step}: {total} of {sum(k[2] for k in told)} atoms have "
            "environments unlike those of the training set, the farthest is the atom of ID "
            f"{farthest} with an extrapolation grade of {self._grade:.3g} (limit "
            f"{EXTRAPOLATION_LIMIT})"
        )
        refused = self._calculator.parameters["extrapolation"] == "raise"
        if ranks.rank == 0 and not (refused or self._warned):
            try:
                warnings.warn(message, ExtrapolationWarning, stacklevel=2)
            except ExtrapolationWarning:  # warnings have been made errors
                refused = True
        self._warned = True
        return ExtrapolationError(message, grades) if ranks.first(refused) else None


def _virial(values: SiteThermodynamics) -> Array:
    """xx, yy, zz, xy, xz, yz of Σ r ⊗ f, eV."""
    strain = values.free_energy_strain
    assert strain is not None
    return -strain[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
