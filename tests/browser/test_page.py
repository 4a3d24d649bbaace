"""The page of a run in a real browser: Debian's chromium, headless. CI installs it; `./scripts/test` leaves it out.

apt install chromium && .venv/bin/python -m pytest tests/browser
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from simulations.command import main

CHROMIUM = shutil.which("chromium")
DEADLINE_S = 120

PROBE = """<script>
setTimeout(() => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data, seen = {};
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i + 3] < 200) continue;
    const colour = [pixels[i], pixels[i + 1], pixels[i + 2]].join(" ");
    seen[colour] = (seen[colour] || 0) + 1;
  }
  document.body.dataset.pixels = JSON.stringify(seen);
}, 1000);
</script>"""
"""What the canvas shows, counted by the browser itself: colour -> opaque pixels."""

COLOURS = {"COMMIT": (26, 127, 75), "VIEW-CHANGE": (224, 123, 0), "accusation": (192, 38, 45)}


def drawn(page: Path, tmp_path: Path) -> str:
    """The document after its scripts have run."""
    assert CHROMIUM is not None, "chromium is not installed: apt install chromium"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1400,1000",
        "--virtual-time-budget=3000",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S
    ).stdout


def pixels_of(document: str, colour: tuple[int, int, int]) -> int:
    found = re.search(rf"&quot;{colour[0]} {colour[1]} {colour[2]}&quot;:(\d+)", document)
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an equivocation, accusations and a view change."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    assert main(["run", "equivocating-primary", "--quiet", "--report", str(path)]) == 0
    return path


def test_the_page_tells_and_draws(page: Path, tmp_path: Path) -> None:
    """Its scripts run to their end: title, verdict, the story; votes, view changes and accusations are drawn."""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8") + PROBE, encoding="utf-8")
    document = drawn(probed, tmp_path)
    assert '<h1 id="name">equivocating-primary</h1>' in document
    assert "Safe, and everything that was asked for is done." in document
    assert "n0 is a liar from now on" in document
    assert len(re.findall("accuses n0", document)) >= 3
    assert {name: pixels_of(document, colour) > 20 for name, colour in COLOURS.items()} == dict.fromkeys(COLOURS, True)


def test_a_page_whose_script_breaks_is_seen(page: Path, tmp_path: Path) -> None:
    """Were there a mistake in the script, these tests would say so."""
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace('byId("name").textContent = data.name;', "data.nothing.name;")
    broken.write_text(text, encoding="utf-8")
    document = drawn(broken, tmp_path)
    assert "accuses n0" not in document.partition("<script>")[0]
    assert pixels_of(document, COLOURS["COMMIT"]) == 0
