"""Readers of Hessians and force constants that others have computed."""

from ase_vibent.hessian.readers.reader import FORMATS, as_stored_hessians, read_hessian
from ase_vibent.hessian.readers.request import UNITS

__all__ = ["FORMATS", "UNITS", "as_stored_hessians", "read_hessian"]
