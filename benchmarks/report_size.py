"""Measure the size of a report with four models and 24 images, and the time until a browser has loaded it.

Usage: python benchmarks/report_size.py [--data fashion-mnist] [--limit 60] [--opened 9] [--keep FOLDER]

The report is that of `shiftscope.report` for an evaluation and an audit of four models (the course's perceptron and
convnet from examples/checkpoints/, the convnet with blurred strides, and the convnet behind a recentering layer), with
class images of the first two: 24 images at 841 placements. It is opened from a file in headless Chromium, in a new
profile each time; "ready" is the time in milliseconds from the start of the navigation until the garment can be
dragged. Needs playwright and Chromium. Writes benchmarks/results/report-size.json.
"""

import argparse
import json
import re
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from playwright.sync_api import Browser, sync_playwright
from torch import nn

import shiftscope
from bench.machine import describe_machine
from shiftscope import files
from shiftscope.data import Dataset
from shiftscope.models.repair import repair
from shiftscope.placement import Placement
from shiftscope.progress import default_progress
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.results import Audit, Record
from shiftscope.workflows.load_inputs import ModelWithData
from shiftscope.workflows.report.choose import choose_images

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "report-size.json"
CHECKPOINTS = HERE.parent / "examples" / "checkpoints"
READY = "() => performance.getEntriesByName('shiftscope-ready').map(entry => entry.startTime)"


def models(place: Placement) -> Iterator[tuple[str, nn.Module]]:
    """Yield perceptron, convnet, repaired and invariant, each with its name in the report."""
    convnet, shape = shiftscope.load(CHECKPOINTS / "two-conv"), (1, *place.canvas)
    yield "two-full", shiftscope.load(CHECKPOINTS / "two-full")
    yield "two-conv", convnet
    yield "convnet, blurred", repair(convnet, shape, method="blur").eval()
    yield "convnet, recentered", repair(convnet, shape, method="recenter").eval()


def records(data: Dataset, place: Placement) -> list[Record]:
    """Return the data of the report; every model is evaluated on the images that the page shows for the others."""
    known, progress = list(models(place)), default_progress()
    audits = [shiftscope.audit(model, data, placement=place, name=name, trained="random", progress=progress)
              for name, model in known]
    by_name = dict(known)
    shared = choose_images(audits, lambda one: ModelWithData(
        model=by_name[one.model], name=one.model, trained=one.trained, data=data, placement=place), progress).audits
    tested = [shiftscope.evaluate(model, data, placement=place, name=name, trained="random") for name, model in known]
    looks = [shiftscope.visualize(model, "class:all", class_names=data.class_names, name=name)
             for name, model in known[:2]]
    return [*tested, *shared, *looks]


def opening(browser: Browser, page: Path) -> float:
    """Return the milliseconds from the navigation to a page whose garment can be dragged."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    view = context.new_page()
    view.goto(page.as_uri(), wait_until="commit")
    view.locator("html[data-views=ready]").wait_for(state="attached")
    (ready,) = view.evaluate(READY)
    context.close()
    return float(ready)


def bytes_of(html: str) -> dict[str, int]:
    """Return the bytes of a report and of its parts."""
    views = {f"data of {name}": len(text.encode()) for name, text in
             re.findall(r'<script type="application/json" data-of="(\w+)">(.*?)</script>', html, re.DOTALL)}
    pictures = sum(len(text) for text in re.findall(r'src="(data:image[^"]*)"', html))
    scripts = re.findall(r'<script type="module">(.*?)</script>', html, re.DOTALL)
    return {"report": len(html.encode()), **views, "pictures": pictures, "script": sum(map(len, scripts))}


def measured(page: Path, shown: Sequence[Record], opened: int) -> dict[str, object]:
    """Return sizes and times of a written report."""
    (group,) = explorer_payload([record for record in shown if isinstance(record, Audit)])["groups"]
    with sync_playwright() as driver:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        times = [round(opening(browser, page), 1) for _ in range(opened)]
        version = browser.version
        browser.close()
    return {"images": len(group["images"]["numbers"]), "models": [model["title"] for model in group["models"]],
            "placements": len(group["rows"]) * len(group["columns"]),
            "bytes": bytes_of(page.read_text(encoding="utf-8")), "opening_ms": times,
            "opening_ms_median": statistics.median(times), "browser": f"Chromium {version}"}


def main() -> None:
    """Make the report, weigh it and open it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--limit", type=int, default=60, help="images that are audited")
    parser.add_argument("--opened", type=int, default=9, help="how often the page is opened")
    parser.add_argument("--keep", type=Path, help="leave report.html in this folder")
    asked = parser.parse_args()
    data = shiftscope.load_dataset(asked.data).limit(asked.limit)
    shown = records(data, Placement(image=(28, 28), canvas=(56, 56)))
    with tempfile.TemporaryDirectory() as folder:
        page = shiftscope.report(shown, (asked.keep or Path(folder)) / "report.html")
        found = measured(page.resolve(), shown, asked.opened)
    record = {"schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
              "audited": len(data.test), "machine": describe_machine(torch.device("cpu"))} | found
    files.write_json(RESULTS, record)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
