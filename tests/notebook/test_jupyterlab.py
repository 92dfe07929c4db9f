"""A notebook in JupyterLab, as a person sees it: the cells are run from the page, in a real browser.

A server of its own, in a folder of its own, with the kernel of this environment; Chromium without a window.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
pytest.importorskip("jupyterlab", reason="needs jupyterlab: pip install -e .[dev]")
nbformat = pytest.importorskip("nbformat", reason="needs nbformat: pip install -e .[dev]")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]

CELLS = ("""%matplotlib inline
import torch
from pathlib import Path
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader, TensorDataset
import shiftscope
import shiftscope.model_utils as MU
from shiftscope.models import build_model

garments = shiftscope.load_dataset("garments").limit(200)
place = shiftscope.Placement(image=(28, 28), canvas=(40, 36))

def moved(split):
    indices = torch.arange(len(split))
    canvases = place.place(split.gather(indices), place.sample(indices, seed=0))
    return DataLoader(TensorDataset(canvases.float() / 255, split.labels), batch_size=50)

MU.imgsize, MU.class_names, MU.args.epochs = (40, 36), garments.class_names, 3
MU.train_loader, MU.test_loader = moved(garments.train), moved(garments.test)
model = build_model("two-full", canvas=(40, 36), classes=garments.classes, N=16, seed=0)""",
         "history = MU.evaluate_model(model)",
         "%matplotlib agg\nhistory = MU.evaluate_model(model)\nMU.display_classified_images(model)",
         "print('figures', plt.get_fignums(), 'files', [path.name for path in Path().rglob('*.png')])")

WATCH = """() => {
    window.seen = [];
    const look = () => {
        const cell = document.querySelectorAll('.jp-CodeCell')[1];
        const outputs = cell.querySelectorAll('.jp-OutputArea-child').length;
        const pictures = [...cell.querySelectorAll('.jp-OutputArea-output img')].map(image => image.src);
        const now = JSON.stringify([outputs, pictures]);
        if (now !== window.seen.at(-1)) window.seen.push(now);
    };
    new MutationObserver(look).observe(document.querySelector('.jp-Notebook'),
        {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
}"""
"""Keeps what the second code cell shows: how many outputs, and its pictures, at each change of the page."""


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[str]:
    """Run a server in `folder`; yields its address. No setting of the user's is read and none is written."""
    state = folder.parent / "jupyter"
    private = {name: str(state / name.lower()) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
               "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}",
               "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (folder.parent / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={
            **os.environ, **private, "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_NO_CONFIG": "1"})
        try:
            yield _address(server, state / "jupyter_runtime_dir", Path(log.name))
        finally:
            server.terminate()
            server.wait(20)


def _address(server: subprocess.Popen, runtime: Path, log: Path) -> str:
    """Wait until the server has written where it listens."""
    for _ in range(300):
        for found in runtime.glob("jpserver-*.json"):
            if (text := found.read_text().strip()).endswith("}"):  # else it is still being written
                return json.loads(text)["url"]
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@contextmanager
def opened(folder: Path, name: str, *, height: int = 3000) -> Iterator["playwright.Page"]:
    """Open a notebook of `folder` in JupyterLab; yields the page, with the kernel ready."""
    with jupyter_lab(folder) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": height})
        page.goto(f"{address}lab/tree/{name}?token=secret")
        page.get_by_text("Python 3 (ipykernel) | Idle").first.wait_for(timeout=40_000)
        yield page
        browser.close()


def run_all(page: "playwright.Page") -> None:
    """Choose "Run All Cells" from the menu."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def notebook_of(cells: tuple[str, ...]) -> "nbformat.NotebookNode":
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}})


def wait_for_output(page: "playwright.Page", cell: int) -> str:
    """Return the text that a code cell shows once it shows any; at once that of an error, where one comes first."""
    errors = page.locator(".jp-OutputArea-output[data-mime-type*=error]")
    answer = page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-output")
    answer.or_(errors).first.wait_for(timeout=60_000)
    assert errors.count() == 0, errors.first.inner_text()
    return answer.inner_text().strip()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_curves_grow_in_one_output_and_nothing_shows_under_agg(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    nbformat.write(notebook_of(CELLS), folder / "garments.ipynb")
    with opened(folder, "garments.ipynb") as page:
        page.evaluate(WATCH)
        run_all(page)
        printed = wait_for_output(page, 3)
        page.wait_for_function("JSON.parse(window.seen.at(-1))[1].length == 2")
        shown = [cell.locator(".jp-OutputArea-child").count() for cell in page.locator(".jp-CodeCell").all()]
        seen = [json.loads(moment) for moment in page.evaluate("window.seen")]
        page.screenshot(path=tmp_path / "page.png")

    outputs, pictures = zip(*seen, strict=True)
    curves = [picture for picture, *_ in filter(None, pictures)]
    assert outputs == (0, 1, 2, 2, 2, 3)  # nothing; a line; and curves, in one place for three epochs; and the gallery
    assert len(set(curves[:3])) == 3  # another picture after each epoch
    assert curves[3] == curves[2]  # which stays when the gallery comes
    assert shown == [0, 3, 0, 1]  # under Agg nothing
    assert printed == "figures [] files []"
