"""All recipes by the name of their model.

    python benchmarks/pretrained/recipes.py

puts their words onto the cards of the shipped models; coefficients and numbers stay as they are.
"""

from __future__ import annotations

import cdte_sw
import cu_emt
import cu_emt_jump
import eam_metals
import fe_am04
import si_sevennet0
import si_sw
import si_sw_soft
from common import Recipe

from ase_vibent import pretrained
from ase_vibent.model.file import read_archive, write_archive

SINGLE = (cdte_sw, cu_emt, cu_emt_jump, fe_am04, si_sevennet0, si_sw, si_sw_soft)
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*(module.RECIPE for module in SINGLE), *eam_metals.RECIPES)
}


def main() -> None:
    for name in pretrained.names():
        recipe = RECIPES[name]
        header, arrays = read_archive(pretrained.path(name))
        card = header["card"]
        card |= recipe.card
        card["data"]["command"] = recipe.command
        write_archive(pretrained.path(name), header, arrays)


if __name__ == "__main__":
    main()
