"""Documentation pages in a browser: accessibility in the light and the dark theme, and width of tables."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
axe = pytest.importorskip("axe_playwright_python.sync_playwright",
                          reason="needs axe-playwright-python: pip install -e .[dev]")
pytest.importorskip("sphinx", reason="needs sphinx: pip install -e .[dev]")

DOCS = Path(__file__).parents[2] / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]

LESSON = min((DOCS / "lessons").glob("[0-9]*.py")).relative_to(DOCS)
PAGES = ("index.md", "leaderboard.md", "auditing.md", "reference/python.md", LESSON.as_posix())
"""One page of each kind: start page, tables, figures and code, generated reference, notebook."""

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    """Folder with the built pages; the lesson is not executed."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "html"))
    for page in PAGES:
        (source / page).parent.mkdir(exist_ok=True)
        shutil.copy(DOCS / page, source / page)
    shutil.copytree(DOCS / "images", source / "images")
    subprocess.run([sys.executable, "-m", "sphinx", "-Q", "-b", "html", "-c", DOCS, source, target], check=True,
                   env=os.environ | {"LESSONS": "none"})
    return target


@pytest.fixture(scope="module")
def open_page(html) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page with a color scheme at 1280 x 900 pixels."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])

        def call(page: str, color_scheme: str = "light") -> Any:
            tab = browser.new_page(color_scheme=color_scheme, viewport={"width": 1280, "height": 900})
            tab.goto((html / page).with_suffix(".html").as_uri())
            return tab

        yield call
        browser.close()


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_has_no_serious_findings(open_page, page, color_scheme):
    tab = open_page(page, color_scheme)
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (color_scheme == "light")
    findings = [f"{finding['id']}: {node['target']} {node['html'][:150]}" for finding in
                axe.Axe().run(tab).response["violations"] if finding["impact"] in SERIOUS for node in finding["nodes"]]
    tab.close()
    assert findings == []


def test_all_tables_of_the_leaderboard_are_fully_visible_at_1280_pixels(open_page):
    tab = open_page("leaderboard.md")
    cut = tab.eval_on_selector_all("article table", """tables => tables.filter(table => {
        const box = table.parentElement.getBoundingClientRect();
        return table.getBoundingClientRect().right > box.right + 1 || box.right > innerWidth;
    }).map(table => table.innerText.slice(0, 80))""")
    wrapped = tab.eval_on_selector_all("article td", "cells => cells.filter(cell => cell.offsetHeight > 60).length")
    assert tab.locator("article table").count() == 5 and cut == [] and wrapped == 0
    tab.close()
