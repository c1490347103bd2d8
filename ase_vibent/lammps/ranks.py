"""Ranks of MPI: sums over them, and forces on ghosts on their way home."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TypeVar

import numpy as np
from numba import config, set_num_threads

from ase_vibent.arrays import Array, IntArray

Word = TypeVar("Word")
#: What takes what ranks say to the terminal is ended with them; it needs this long, s.
HEARD = 0.5


class Ranks:
    """The ranks that share a structure; one alone needs no MPI.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        Of all of them.
    """

    def __init__(self, comm: Any = None):
        self._comm = comm
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size

    def total(self, values: Array) -> Array:
        """Sum over the ranks."""
        if self._comm is None:
            return values
        result = np.empty_like(values)
        self._comm.Allreduce(values, result)
        return result

    def any(self, flag: bool) -> bool:
        """Whether a flag is set on any rank."""
        return bool(self.total(np.array([float(flag)]))[0])

    def gather(self, word: Word) -> list[Word]:
        """What every rank says, told to all."""
        return [word] if self._comm is None else self._comm.allgather(word)

    def first(self, word: Word) -> Word:
        """What the first rank says."""
        return word if self._comm is None else self._comm.bcast(word)

    def exchange(self, values: Any, counts: IntArray, counts_back: IntArray) -> Any:
        """Rows that other ranks send.

        Parameters
        ----------
        values : ndarray, shape (n, ...)
            Rows to be sent, in the order of the ranks.
        counts, counts_back : ndarray of int64, shape (size,)
            How many rows go to every rank, and come from it.

        Returns
        -------
        ndarray, shape (m, ...)
            In the order of the ranks that they come from.
        """
        values = np.ascontiguousarray(values)
        width = int(np.prod(values.shape[1:]))
        received = np.empty((int(counts_back.sum()), *values.shape[1:]), dtype=values.dtype)
        self._comm.Alltoallv([values, width * counts], [received, width * counts_back])
        return received

    def counts_back(self, counts: IntArray) -> IntArray:
        """How many rows every rank sends here, if `counts` are those that go out."""
        back = np.empty_like(counts)
        self._comm.Alltoall(counts, back)
        return back

    def share_cores(self) -> None:
        """Let ranks of one machine share its cores, unless NUMBA_NUM_THREADS says otherwise."""
        if self._comm is None or "NUMBA_NUM_THREADS" in os.environ:
            return
        from mpi4py import MPI

        node = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        set_num_threads(max(1, config.NUMBA_NUM_THREADS // node.size))
        node.Free()

    def abort(self, message: str) -> None:
        """End all ranks, with a message that is heard before."""
        print(message, file=sys.stderr, flush=True)
        time.sleep(HEARD)
        self._comm.Abort(1)


class Ghosts:
    """Whose atoms the ghosts of a rank are images of.

    LAMMPS brings home forces on ghosts before fixes have their turn, and has no door to do it
    again: so the owners are found here, by the atoms' IDs, which hold for every decomposition.

    Parameters
    ----------
    ranks : Ranks
    tags : ndarray of int64, shape (n_atoms + n_ghosts,)
        IDs of the rank's own atoms, then of its ghosts.
    n_atoms : int

    Attributes
    ----------
    n_lost : int
        Ghosts whose atom no rank owns: IDs are not those of different atoms.
    """

    def __init__(self, ranks: Ranks, tags: IntArray, n_atoms: int):
        self._ranks, self._n_atoms = ranks, n_atoms
        own, of_ghosts = tags[:n_atoms], tags[n_atoms:]
        order = np.argsort(own)
        targets = _find(own[order], of_ghosts)
        here = targets >= 0
        self._images = n_atoms + np.flatnonzero(here)
        self._targets = order[targets[here]]
        self._away = n_atoms + np.flatnonzero(~here)
        self.n_lost = 0
        if ranks.size == 1:
            self.n_lost = len(self._away)
            return
        owners = _owners(ranks, own, of_ghosts[~here])
        self.n_lost = int(np.sum(owners < 0))
        self._away, owners = self._away[owners >= 0], owners[owners >= 0]
        by_rank = np.argsort(owners, kind="stable")
        self._away = self._away[by_rank]
        self._counts = np.bincount(owners, minlength=ranks.size)
        self._counts_back = ranks.counts_back(self._counts)
        wanted = ranks.exchange(tags[self._away], self._counts, self._counts_back)
        self._targets = np.append(self._targets, order[_find(own[order], wanted)])

    def fold(self, values: Array) -> Array:
        """Values of atoms plus those of all their images, on whichever rank.

        Parameters
        ----------
        values : ndarray, shape (n_atoms + n_ghosts, m)

        Returns
        -------
        ndarray, shape (n_atoms, m)
        """
        added = values[self._images]
        if self._ranks.size > 1:
            away = self._ranks.exchange(values[self._away], self._counts, self._counts_back)
            added = np.concatenate([added, away])
        folded = values[: self._n_atoms].copy()
        for column, of_images in zip(folded.T, added.T, strict=True):
            column += np.bincount(self._targets, weights=of_images, minlength=self._n_atoms)
        return folded


def _find(known: IntArray, wanted: IntArray) -> IntArray:
    """Place of every wanted number among sorted ones; -1 if it is not there."""
    if not len(known):
        return np.full(len(wanted), -1)
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[places] == wanted, places, -1)


def _owners(ranks: Ranks, own: IntArray, wanted: IntArray) -> IntArray:
    """Rank that owns the atom of every wanted ID; -1 if none does.

    Rank ID mod size knows: it is told of what the others own, then asked.
    """
    tell, ask = own % ranks.size, wanted % ranks.size
    order, asked = np.argsort(tell, kind="stable"), np.argsort(ask, kind="stable")
    counts, questions = (np.bincount(k, minlength=ranks.size) for k in (tell, ask))
    counts_back, questions_back = ranks.counts_back(counts), ranks.counts_back(questions)
    known = ranks.exchange(own[order], counts, counts_back)
    teller = np.repeat(np.arange(ranks.size), counts_back)
    by_tag = np.argsort(known)
    found = _find(known[by_tag], ranks.exchange(wanted[asked], questions, questions_back))
    answers = np.where(found < 0, -1, np.append(teller[by_tag], -1)[found])
    owners = np.empty(len(wanted), dtype=np.int64)
    owners[asked] = ranks.exchange(answers, questions_back, questions)
    return owners
