"""The one writer of reports: a page in one file, that asks no network for anything."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from io import BytesIO
from typing import IO, Any

from ase_vibent._version import __version__
from ase_vibent.files.writing import write_text
from ase_vibent.report.scene import Scene
from ase_vibent.tables import table_cells

#: Browsers obey it: nothing is loaded, whatever stands in the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Page:
    """Headings, texts, tables, figures and structures, one below the other.

    All texts are escaped: names of files may hold anything.

    Parameters
    ----------
    title : str
    """

    def __init__(self, title: str):
        self.title = title
        self._parts: list[str] = [f"<h1>{escape(title)}</h1>"]
        self._has_scene = False

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph; none if the text is empty."""
        if text:
            self._parts.append(f"<p>{escape(text)}</p>")

    def lines(self, text: str) -> None:
        """Add lines as a terminal shows them."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def table(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table; columns and rows are those of `ase_vibent.tables.format_table`."""
        sides = ["" if style[0] == "<" else " class=number" for style in columns.values()]

        def row(tag: str, cells: Sequence[str]) -> str:
            pairs = zip(sides, cells, strict=True)
            return "<tr>" + "".join(f"<{tag}{s}>{escape(c)}</{tag}>" for s, c in pairs) + "</tr>"

        body = "\n".join(row("td", cells) for cells in table_cells(columns, rows))
        self._parts.append(
            f'<div class="wide"><table><thead>{row("th", list(columns))}</thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def figure(self, draw: Callable[[IO[bytes]], None], caption: str) -> None:
        """Add a figure.

        Parameters
        ----------
        draw : callable (open file) -> None
            Writes SVG, as all of `ase_vibent.figures` do into an open file.
        caption : str
        """
        file = BytesIO()
        draw(file)
        picture, text = b64encode(file.getvalue()).decode(), escape(caption)
        self._parts.append(
            f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{picture}">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def scene(self, scene: Scene) -> None:
        """Add a structure to turn, cut and pick atoms from."""
        self._has_scene = True
        data = json.dumps(scene.data(), allow_nan=False, separators=(",", ":"))
        data = data.replace("<", "\\u003c")  # which would end the element
        self._parts.append(
            f'<figure class="viewer" aria-label="{escape(scene.name)}">'
            f'<script type="application/json">{data}</script></figure>'
        )
        self.text(scene.remark and f"{scene.remark}.")

    def html(self) -> str:
        """The whole page."""
        script = f"<script>\n{_resource('viewer.js')}</script>" if self._has_scene else ""
        return "\n".join(
            [
                '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self.title)}</title>",
                f"<style>\n{_resource('page.css')}</style></head>\n<body><main>",
                *self._parts,
                f"<footer>ase-vibent {__version__}</footer></main>",
                f"{script}</body></html>\n",
            ]
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_text(path, self.html())


@cache
def _resource(name: str) -> str:
    return files("ase_vibent.report").joinpath(name).read_text(encoding="utf-8")
