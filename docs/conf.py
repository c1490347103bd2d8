"""Sphinx builds the pages: `bash run docs`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))  # commands.py, cards.py

from cards import write_cards  # noqa: E402

from ase_vibent import __version__  # noqa: E402

project = "ase-vibent"
author = "The ase-vibent developers"
copyright = author  # noqa: A001 - the name that Sphinx asks for
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxarg.ext",
]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py"]
nitpicky = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache", "myst.domains", "ref.python"]

autodoc_typehints = "none"  # docstrings have them, with shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_param = napoleon_use_rtype = False  # shapes and units are prose, not names to link
smartquotes = False  # -- begins an option, quotes are of code
html_theme = "furo"
html_title = "ase-vibent"
html_static_path = ["static"]
html_css_files = ["wide-tables.css"]
html_theme_options = {
    "navigation_with_keys": True,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


class DrawnFiles:
    """Pictures that an example has written beside itself."""

    def __call__(self, block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
        """The reStructuredText of new pictures, as sphinx-gallery asks for it."""
        from sphinx_gallery.scrapers import figure_rst

        names = []
        for picture in sorted(Path(variables["src_file"]).parent.glob("*.png")):
            name = next(variables["image_path_iterator"])
            shutil.move(picture, name)
            names.append(name)
        return figure_rst(names, settings["src_dir"])


def _clean_examples(settings: dict[str, Any], name: str, when: str) -> None:
    """Remove what an example wrote."""
    for path in (ROOT / "examples").iterdir():
        if path.suffix in (".vibent", ".dump", ".xyz", ".lammps"):
            path.unlink()


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d-",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": (DrawnFiles(),),
    "reset_modules": (_clean_examples,),
    "reset_modules_order": "both",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "plot_gallery": os.environ.get("DOCS_GALLERY", "run") == "run",
}

write_cards(ROOT / "docs" / "models")


def _escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """|x| is an absolute value, not a substitution."""
    lines[:] = [line.replace("|", r"\|") for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _escape_bars)
