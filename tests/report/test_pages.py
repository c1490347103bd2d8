"""Pages hold what they should, whole and escaped, and ask no network for anything."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from ase.units import kB

from ase_vibent import SiteEntropyCalculator, show, write_labels
from ase_vibent.report.page import Page
from ase_vibent.report.site_values import site_values
from ase_vibent.report.structure import structure_page

#: Elements that HTML does not close.
VOID = {"meta", "img", "br", "input", "link"}
HOSTILE = '<script>alert(1)</script> $x^ & ".xyz'

pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.ExtrapolationWarning")


class _Reader(HTMLParser):
    """Elements that are open, data of viewers, pictures and texts of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.scenes: list[dict] = []
        self.pictures: list[bytes] = []
        self.scripts = 0
        self.references: list[str] = []
        self._json = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self._json = given.get("type") == "application/json"
        self.scripts += tag == "script" and not self._json
        self.references += [given[key] for key in ("src", "href") if key in given]
        if tag == "img":
            self.pictures.append(b64decode(given["src"].partition(",")[2]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self._json = False

    def handle_data(self, data):
        if self._json:
            self.scenes.append(json.loads(data))


def read_page(text: str) -> _Reader:
    """A page, found to be well made and to ask for nothing."""
    page = _Reader(text)
    assert not page.open
    assert all(reference.startswith("data:") for reference in page.references)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket", text)
    for picture in page.pictures:
        ElementTree.fromstring(picture)
    return page


@pytest.fixture
def surrogate() -> SiteEntropyCalculator:
    return SiteEntropyCalculator.from_pretrained("si-sw", temperature=600, extrapolation="ignore")


def test_report_of_a_structure(vibent, silicon, surrogate, tmp_path, strict_json):
    vacancy = silicon[np.arange(16) != 5]
    vacancy.info["<b>"] = "</script>"
    structure = tmp_path / HOSTILE.replace("/", ":")
    write(structure, vacancy)
    page = tmp_path / "page.html"
    done = vibent(
        "report", structure, "--model", "si-sw", "-o", page, "-T", 600,
        "--calculator", "sw-si", "--sites", 4, 6, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert strict_json(done.out)["n_drawn"] == len(vacancy)
    text = page.read_text(encoding="utf-8")
    found = read_page(text)
    (scene,) = found.scenes
    assert found.scripts == 1
    assert len(found.pictures) == 2  # sites, densities of states
    by_name = {q["name"]: q for q in scene["quantities"]}
    for name, key, unit in (
        ("site entropy", "entropies", kB),
        ("standard deviation", "entropies_std", kB),
        ("extrapolation grade", "extrapolation_grades", 1.0),
    ):
        expected = surrogate.get_property(key, vacancy) / unit
        np.testing.assert_allclose(by_name[name]["values"], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(scene["positions"], vacancy.positions, atol=1e-6)
    total = surrogate.get_property("entropy", vacancy) / kB
    assert f">{total:.4f}</td>" in text


def test_pictures_for_papers(vibent, silicon, tmp_path):
    write(tmp_path / "si.xyz", silicon)
    common = ["report", tmp_path / "si.xyz", "--model", "si-sw", "--most", 5]
    for ending, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        place = tmp_path / f"si.{ending}"
        done = vibent(*common, "-o", place, "--colour", "grade")
        assert done.code == 0, done.err
        assert place.read_bytes().startswith(start)
        assert "5 of 16 atoms are drawn" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "page.txt"], "no figure format"),
        (["-o", "no/such/page.html"], "its folder does not exist"),
        (["-o", "."], "no figure format"),
        (["-o", "page.html", "--colour", "std"], "--colour: is for pictures"),
        (["-o", "page.png", "--calculator", "sw-si"], "name the output .html"),
        (["-o", "page.html", "--sites", "3"], "--calculator"),
        (["-o", "page.html", "--model", "cu-emt"], "Si"),
        (["-o", "page.html", "--reference", "cluster.xyz"], "periodic along three directions"),
        (["-o", "page.html", "--sites", "99", "--calculator", "sw-si"], "--sites"),
        (["-o", "page.png", "--colour", "difference", "--quantum"], "--reference gives a crystal"),
    ],
)
def test_mistakes_are_sentences(vibent, silicon, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write("si.xyz", silicon)
    write("cluster.xyz", Atoms("Si4", np.eye(4)[:, :3] * 2.3))
    model = [] if "--model" in words else ["--model", "si-sw"]
    done = vibent("report", "si.xyz", *model, *words)
    assert done.code == 1
    assert message in done.err
    assert done.err.startswith("vibent report: ")
    assert not list(tmp_path.glob("*.html"))


def test_one_atom(surrogate):
    assert '"atoms":[0]' in show(bulk("Si")[:1], surrogate).page().html()


def test_notebooks_get_a_frame(surrogate, silicon):
    silicon.calc = surrogate
    view = show(silicon, most=4)
    frame = _Frame()
    frame.feed(view._repr_html_())
    (scene,) = read_page(frame.page).scenes
    assert len(scene["atoms"]) == 4
    assert repr(view) == "View(Si16: 4 atoms)"


class _Frame(HTMLParser):
    page = ""

    def handle_starttag(self, tag, attributes):
        assert tag == "iframe"
        self.page = dict(attributes)["srcdoc"]


def test_formations(vibent, tmp_path):
    """Names of files end no element."""
    crystal = bulk("Cu", "fcc", a=3.5898) * 2
    write(tmp_path / "crystal.xyz", crystal)
    write(tmp_path / "<i>vacancy.xyz", crystal[1:])  # its seven atoms are at rest by symmetry
    done = vibent(
        "formation", tmp_path / "<i>vacancy.xyz", "--reference", tmp_path / "crystal.xyz",
        "--model", "cu-emt", "--calculator", "emt", "--report", tmp_path / "page.html",
    )  # fmt: skip
    assert done.code == 0, done.err
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = read_page(text)
    assert "&lt;i&gt;vacancy.xyz" in text
    assert len(found.pictures) == 1
    (scene,) = found.scenes
    assert scene["quantities"][0]["name"] == "difference to the crystal"
    excess = sum(scene["quantities"][0]["values"])
    calculator = SiteEntropyCalculator.from_pretrained("cu-emt")
    shares = [calculator.get_property("entropy", atoms) / kB for atoms in (crystal[1:], crystal)]
    assert excess == pytest.approx(shares[0] - shares[1] * 7 / 8, abs=1e-5)


def test_rates(vibent, copper_jump, tmp_path):
    """Exactly: the saddle has an unstable mode, and the atom that jumps stands out."""
    minimum, saddle = copper_jump[0], copper_jump[3]
    write(tmp_path / "minimum.xyz", minimum)
    write(tmp_path / "saddle.xyz", saddle)
    done = vibent(
        "rate", tmp_path / "minimum.xyz", tmp_path / "saddle.xyz", "--calculator", "emt",
        "--mesh", "gamma", "-T", 300, 600, "--report", tmp_path / "page.html",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = read_page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len(found.pictures) == 1
    (scene,) = found.scenes
    assert scene["quantities"][0]["name"] == "difference to the minimum"
    jumping = np.argmax(np.linalg.norm(minimum.positions - saddle.positions, axis=1))
    assert np.argmax(np.abs(scene["quantities"][0]["values"])) == jumping


def test_trainings(vibent, silicon_frames, tmp_path):
    write_labels(tmp_path / "labels.xyz", silicon_frames)
    done = vibent(
        "train", tmp_path / "labels.xyz", "-o", tmp_path / "si.vibent", "--cutoff", 4.2,
        "--order", 2, "--degree", 6, "--test-fraction", 0.4, "--report", tmp_path / "page.html",
    )  # fmt: skip
    assert done.code == 0, done.err
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = read_page(text)
    assert len(found.pictures) == 2  # parity, calibration
    assert not found.scenes
    assert found.scripts == 0
    for line in done.out.splitlines():
        if line.startswith("test"):
            assert all(f">{word}</td>" in text for word in line.split()[:4])


@pytest.mark.parametrize("command", ["formation", "rate", "train"])
def test_reports_are_pages(vibent, command, tmp_path):
    write(tmp_path / "a.xyz", bulk("Cu"))
    more = {"formation": [], "rate": [tmp_path / "a.xyz"], "train": ["-o", tmp_path / "a.vibent"]}
    done = vibent(command, tmp_path / "a.xyz", *more[command], "--report", tmp_path / "page.pdf")
    assert done.code == 1
    assert "name it .html" in done.err or command == "train"


def test_a_page_is_a_function_of_what_it_shows(surrogate, silicon):
    pages = []
    for _ in range(2):
        scene = show(silicon, surrogate).scene
        page = structure_page(scene, site_values(silicon, surrogate), surrogate)
        pages.append(page.html())
    assert pages[0] == pages[1]


def test_all_texts_are_escaped(surrogate, silicon):
    page = Page(HOSTILE)
    page.heading(HOSTILE)
    page.text(HOSTILE)
    page.lines(HOSTILE)
    page.table({HOSTILE: "<"}, [(HOSTILE,)])
    page.figure(lambda file: file.write(b"<svg/>"), HOSTILE)
    page.scene(show(silicon, surrogate).scene)
    assert "alert(1)</script>" not in page.html()
    assert read_page(page.html()).scripts == 1


def test_files_of_pages_are_in_the_package():
    folder = Path(show.__code__.co_filename).parent
    settings = (folder.parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    for path in folder.iterdir():
        if path.suffix in (".js", ".css"):
            assert f'"report/{path.name}"' in settings
