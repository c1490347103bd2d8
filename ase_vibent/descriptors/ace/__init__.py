"""Atomic cluster expansion: invariant polynomials of the neighbour density."""

from ase_vibent.descriptors.ace.basis import ACE

__all__ = ["ACE"]
