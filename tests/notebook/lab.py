"""JupyterLab in a browser, with a separate server and folder and the kernel of this environment.

Importing this module skips tests if JupyterLab or the browser driver is missing.
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


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[str]:
    """Run a server in `folder`; yields its address. The user's settings are neither read nor written."""
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
    """Wait for the server's address."""
    for _ in range(300):
        for result in runtime.glob("jpserver-*.json"):
            if (text := result.read_text().strip()).endswith("}"):  # else it is still being written
                return json.loads(text)["url"]
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


class Lab:
    """A server and a browser for the notebooks of one folder."""

    def __init__(self, folder: Path, address: str, browser: "playwright.Browser"):
        self.folder, self.address, self.browser = folder, address, browser

    @contextmanager
    def opened(self, notebook: "nbformat.NotebookNode", *, height: int = 3000) -> Iterator["playwright.Page"]:
        """Open a notebook under a new name; yields the page when the kernel is ready."""
        name = f"notebook-{len(list(self.folder.iterdir()))}"
        work = self.folder / name
        work.mkdir()
        nbformat.write(notebook, work / f"{name}.ipynb")
        with self.browser.new_context(viewport={"width": 1280, "height": height}) as context:
            page = context.new_page()
            page.goto(f"{self.address}lab/workspaces/{name}/tree/{name}/{name}.ipynb?token=secret")
            page.get_by_text("Python 3 (ipykernel) | Idle").first.wait_for(timeout=40_000)
            yield page


@contextmanager
def jupyter_lab_in_chromium(folder: Path) -> Iterator[Lab]:
    """Start a server in `folder` and a browser without a window."""
    with jupyter_lab(folder) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Lab(folder, address, browser)
        browser.close()


def run_all(page: "playwright.Page") -> None:
    """Choose "Run All Cells" from the menu."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def notebook_of(cells: tuple[str, ...]) -> "nbformat.NotebookNode":
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}})


def code_cell(page: "playwright.Page", number: int) -> "playwright.Locator":
    return page.locator(".jp-CodeCell").nth(number)


def run_cell(page: "playwright.Page", number: int) -> None:
    """Run a cell again with Ctrl+Enter and wait until it has finished."""
    prompt = code_cell(page, number).locator(".jp-InputPrompt")
    before = prompt.inner_text()
    code_cell(page, number).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("([number, before]) => !['[*]:', before].includes(document.querySelectorAll('.jp-CodeCell')"
                           "[number].querySelector('.jp-InputPrompt').innerText)", arg=[number, before])


def wait_for_output(page: "playwright.Page", cell: int) -> str:
    """Return the text output of a code cell when there is one; fail if an error appears first."""
    errors = page.locator(".jp-OutputArea-output[data-mime-type*=error]")
    answer = page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-output")
    answer.or_(errors).first.wait_for(timeout=60_000)
    assert errors.count() == 0, errors.first.inner_text()
    return answer.inner_text().strip()
