"""Sites that a file says are occupied in part are refused, and named."""

import io

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import HessianEntropyCalculator
from ase_vibent.cli import main
from ase_vibent.errors import InvalidStructureError
from ase_vibent.structures import check_structure, vacancies

CIF = """data_brass
_cell_length_a 3.7
_cell_length_b 3.7
_cell_length_c 3.7
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""


def crystal(*sites):
    text = CIF.format(sites="\n".join(sites))
    return ase.io.read(io.StringIO(text), format="cif")


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (("Cu1 Cu 0 0 0 0.7", "Zn1 Zn 0 0 0 0.3"), "4 sites .*atom 0 .0.7 Cu and 0.3 Zn"),
        (("Cu1 Cu 0 0 0 0.9",), "4 sites .*atom 0 .0.9 Cu"),
        (("Cu1 Cu 0 0 0 1.0", "O1 O 0.5 0.5 0.5 0.5"), "4 sites .*atom 4 .0.5 O"),
        (("Cu1 Cu 0 0 0 0.5", "Au1 Au 0 0 0 0.5"), "0.5 Cu and 0.5 Au"),
    ],
)
def test_partial_occupancy(sites, message):
    atoms = crystal(*sites)
    for use in (
        check_structure,
        vacancies,
        lambda a: check_structure(a * (2, 1, 1)),
        lambda a: HessianEntropyCalculator(EMT()).get_property("entropy", a),
    ):
        with pytest.raises(InvalidStructureError, match=message.replace("4", r"\d+", 1)):
            use(atoms)
    del atoms.info["occupancy"]
    check_structure(atoms)


def test_full_occupancy():
    check_structure(crystal("Cu1 Cu 0 0 0 1"))
    check_structure(crystal("Cu1 Cu 0 0 0 1.0", "O1 O 0.5 0.5 0.5 0.9999"))


def test_occupancies_of_atoms():
    """As in PDB files, where zeros are common and mean nothing."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_array("occupancy", np.array([1.0, 0.4, 0.0, 1.0]))
    with pytest.raises(InvalidStructureError, match=r"1 sites .*atom 1 \(0.4 Cu\)"):
        check_structure(atoms)


def test_command(tmp_path, capsys):
    path = tmp_path / "brass.cif"
    path.write_text(CIF.format(sites="Cu1 Cu 0 0 0 0.7\nZn1 Zn 0 0 0 0.3"), encoding="utf-8")
    words = ["make", "vacancies", str(path), "-o", str(tmp_path / "v.xyz")]
    assert main(words) != 0
    assert "0.7 Cu and 0.3 Zn" in capsys.readouterr().err
