"""Models in the formats of other engines: exactly, or refused with a sentence."""

from ase_vibent.export.pair_table import write_table
from ase_vibent.export.snap import write_snap
from ase_vibent.export.yace import write_yace

__all__ = ["write_snap", "write_table", "write_yace"]
