"""The page of a report in a browser: Chromium, through its driver's standard protocol."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from ase.units import kB

from ase_vibent import SiteEntropyCalculator, show

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
    ),
]


class Browser:
    """A session of W3C WebDriver."""

    def __init__(self, address: str):
        self.address = address
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = {"binary": CHROMIUM, "args": arguments}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        found = self.post("session", {"capabilities": {"alwaysMatch": wanted}})
        self.address += f"/session/{found['sessionId']}"

    def post(self, command: str, content: dict) -> object:
        request = Request(f"{self.address}/{command}", json.dumps(content).encode())
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def run(self, script: str) -> object:
        return self.post("execute/sync", {"script": script, "args": []})

    def gesture(self, *actions: dict) -> None:
        mouse = {"type": "pointer", "id": "mouse", "actions": list(actions)}
        self.post("actions", {"actions": [mouse]})


@pytest.fixture
def browser() -> Iterator[Browser]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                started = Browser(f"http://127.0.0.1:{port}")
                break
            except URLError:
                time.sleep(0.5)
        else:
            pytest.fail("chromedriver does not answer")
        yield started
        with closing(urlopen(Request(started.address, method="DELETE"), timeout=60)):
            pass
    finally:
        driver.terminate()
        driver.wait(60)


def _move(x: float, y: float) -> dict:
    return {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}


DOWN, UP = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
#: The sphere in front of all others, in pixels of the window.
FRONT = """
const viewer = document.querySelector('.viewer').viewer;
viewer.canvas.scrollIntoView();
const box = viewer.canvas.getBoundingClientRect(), front = viewer.spheres.at(-1);
return [front.k, box.x + front.x + 1, box.y + front.y + 1];
"""
PICKED = "return document.querySelector('.viewer output').textContent"


def test_an_atom_is_picked_and_the_structure_turned(browser, silicon, tmp_path):
    calculator = SiteEntropyCalculator.from_pretrained("si-sw", extrapolation="ignore")
    del silicon[5]
    show(silicon, calculator).page().write(tmp_path / "page.html")
    browser.post("url", {"url": (tmp_path / "page.html").as_uri()})
    k, x, y = browser.run(FRONT)
    assert browser.run(PICKED) == "Click an atom for its numbers."
    browser.gesture(_move(x, y), DOWN, UP)
    first, place, difference, entropy, *_ = browser.run(PICKED).splitlines()
    assert first == f"atom {k}, Si"
    assert place == "at " + ", ".join(f"{c:.3f}" for c in silicon.positions[k]) + " Å"
    values = calculator.get_property("entropies", silicon)
    assert float(entropy.split()[-2]) == pytest.approx(values[k] / kB, rel=1e-3)
    assert difference.startswith("difference to the crystal: ")
    # Drag, and it turns; nothing else is picked.
    before = browser.run(PICKED)
    browser.gesture(_move(x, y), DOWN, _move(x + 90, y + 40), UP)
    turned = browser.run("return document.querySelector('.viewer').viewer.turn")
    assert turned != browser.run("return document.querySelector('.viewer').viewer.data.view")
    assert browser.run(PICKED) == before
    # A slice hides atoms; reset brings them back.
    count = "return document.querySelector('.viewer').viewer.spheres.length"
    assert browser.run(count) == len(silicon)
    browser.run(
        "const viewer = document.querySelector('.viewer').viewer; viewer.axis.value = 1;"
        "viewer.axis.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    assert 0 < browser.run(count) < len(silicon)
    browser.run("document.querySelector('.viewer button').click()")
    assert browser.run(count) == len(silicon)
    assert browser.post("se/log", {"type": "browser"}) == []
