import base64
import dataclasses
import io
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from shiftscope.notebook.display import MAX_LENGTH, mimebundle
from shiftscope.notebook.summary import LINES, WIDTH, summary
from shiftscope.results import NONFINITE, UnitRow
from shiftscope.results.base import KINDS, Record

EVIL = "</iframe></script><img src=x onerror=alert(1)>\x1b[31m"
TEXT, PNG, HTML = "text/plain", "image/png", "text/html"

WITHOUT_FIGURE = {"neighbors", "units", "worst-case"}  # reporting has no figure for a single one

SAYS = {
    "audit": r"two-full on garments: 60 test images at all 24 placements \(exact\), mode canvas\naccuracy: mean",
    "evaluation": r"60 test images, .*\naccuracy: \d.* % at random placements, \d.* % centered\nleast accurate class: ",
    "training": r"Training of \S+ on garments: 2 epochs, .* 6,214 parameters.*\nlast epoch: loss \d",
    "synthesis": r"class:all in \S+: 10 images of 1 x 33 x 31, .*\nactivation .* at the start",
    "neighbors": r"the 9 best images of each of 10 units\nThe first 60 test images at all 24 placements. garments.",
    "quality": r"class:all in \S+: 10 units\nmeans: .*selectivity 0",
    "units": r"garments: 60 test images, \d layers?\nfc1: 6 units, \d dead",
    "equivariance": r"garments: 5 layers, 32 test images, shifts of 0 to 3 pixels, mode.*\n.*\n"
                    r"last layer, output: -?\d",
    "worst-case": r"60 test images at all 24 placements \(exact\), mode canvas\n"
                  r"accuracy: worst case \d+.\d %, centered \d+.\d %; [\d,]+ of 1,440 predictions computed",
    "attribution": r"by saliency in \S+: 2 images, target class",
}


class Page(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_all_kinds_are_covered(results):
    ours = {kind for kind, cls in KINDS.items() if cls.__module__.startswith("shiftscope.results")}
    assert set(results) == set(SAYS) == ours


@pytest.mark.parametrize("kind", sorted(SAYS))
def test_summary_of_each_kind(results, kind):
    lines = summary(results[kind]).split("\n")
    assert 2 <= len(lines) <= LINES and max(map(len, lines)) <= WIDTH
    assert re.search(SAYS[kind], "\n".join(lines))


@pytest.mark.parametrize("kind", sorted(SAYS))
def test_results_print_in_few_lines(results, kind):
    record = results[kind]
    assert str(record) == summary(record)
    for text, lines in ((str(record), 5), (repr(record), 1), (repr([record] * 3), 1), (f"{record!s}", 5)):
        assert text.count("\n") < lines and len(text) <= 3 * (2 * WIDTH + 6)
    assert repr(record).startswith(f"<{str(record).splitlines()[0]}; ") and "array" not in repr(record)
    assert len(repr(dataclasses.replace(record, model=EVIL * 100))) <= 2 * WIDTH + 6


def test_rows_of_units_print_without_their_lists():
    row = UnitRow("fc1", True, 5000, tuple(range(4000)), ((0, 1),) * 3000, 0.5, None)
    assert repr(row) == "UnitRow(layer='fc1', after_relu=True, units=5000, mean=0.5, sparsity=None)"


def test_invalid_records_have_a_representation(results):
    broken = dataclasses.replace(results["audit"], accuracy_map=None, intervals=None, mean_accuracy="high")
    assert repr(broken) == "<Audit (not valid: its fields do not fit together)>"


def test_a_subclass_may_have_its_own_representation():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(Record):
        kind = "test-own"
        images: int

        def __repr__(self):
            return f"Own {self.images}"

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(Record):
        kind = "test-other"
        images: int

    try:
        assert repr(Own(images=3)) == "Own 3" and repr(Other(images=3)) == (
            "<Result of kind 'test-other'; images 3>")
    finally:
        KINDS.pop("test-own"), KINDS.pop("test-other")


def test_metrics_of_an_audit_have_their_own_names(results):
    names = ("mean_accuracy", "worst_case_accuracy", "middle_accuracy", "consistency", "unanimity")
    audit = dataclasses.replace(results["audit"], **{name: step / 10 for step, name in enumerate(names, 1)})
    assert summary(audit).splitlines()[1] == (
        "accuracy: mean 10.0 %, worst case 20.0 %, centered 30.0 %; consistency 40.0 %, unanimity 50.0 %")


@pytest.mark.parametrize("kind", sorted(SAYS))
def test_results_display_text_and_figure(results, kind):
    data, metadata = results[kind]._repr_mimebundle_()
    assert data[TEXT] == summary(results[kind])
    if kind in WITHOUT_FIGURE:
        assert set(data) == {TEXT} and metadata == {}
        return
    assert set(data) == {TEXT, PNG, HTML} and set(metadata) == {PNG}
    with Image.open(io.BytesIO(base64.b64decode(data[PNG]))) as picture:
        assert (metadata[PNG]["width"], metadata[PNG]["height"]) == pytest.approx(
            [side * 96 / 112 for side in picture.size], abs=1.5)
    page = Page(data[HTML])
    if kind == "audit":
        assert not page.all("script")  # only in the frame
        return
    assert [tag for tag, _ in page.tags if tag != "br"] == ["div", "p", "img"]
    image = page.all("img")[0]
    assert image["src"] == f"data:image/png;base64,{data[PNG]}" and len(str(image["alt"])) > 40


def test_explorer_frame_is_sandboxed(results):
    html = results["audit"]._repr_mimebundle_(include=[HTML])[0][HTML]
    frame = Page(html).all("iframe")[0]
    assert frame["sandbox"] == "allow-scripts" and len(html) < MAX_LENGTH
    page = Page(str(frame["srcdoc"]))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in str(policy)
    assert not page.all("link") and not page.all("img") and len(page.all("script")) == 2
    fallback = html[html.index(">", html.index("srcdoc=")):]  # remains if frames are removed
    assert len(Page(fallback).all("img")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 560, 700, 1000, 1400])
def test_the_explorer_is_not_cut_off(results, tmp_path, width):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    page = tmp_path / "cell.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{results['audit']._repr_mimebundle_(include=[HTML])[0][HTML]}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.goto(page.as_uri())
        frame = tab.frames[1]
        frame.locator("html[data-views=ready]").wait_for()
        inside, content, across = frame.evaluate(
            "[innerHeight, document.documentElement.scrollHeight, document.documentElement.scrollWidth - innerWidth]")
        assert content <= inside and across <= 0
        assert ["0 %", "100 %"] == [text.replace("\u00a0", " ") for text in frame.locator(
            ".ss-scales:visible .ss-number").all_inner_texts()]
        browser.close()


@pytest.mark.parametrize("asked, given", [
    ({"include": [TEXT]}, {TEXT}), ({"include": {PNG, "image/svg+xml"}}, {PNG}), ({"exclude": [HTML]}, {TEXT, PNG}),
    ({"include": [PNG, HTML], "exclude": [PNG]}, {HTML}), ({"exclude": [TEXT, PNG, HTML]}, set())])
def test_only_requested_mime_types_are_returned(results, asked, given):
    data, metadata = results["audit"]._repr_mimebundle_(**asked)
    assert set(data) == given and set(metadata) == given & {PNG}


def test_hostile_names_are_escaped(results):
    names = [EVIL] * 10
    for kind in ("audit", "evaluation", "synthesis"):
        record = dataclasses.replace(results[kind], model=EVIL, class_names=names, **(
            {} if kind == "synthesis" else {"dataset": EVIL, "notes": [EVIL]}))
        data, _ = record._repr_mimebundle_()
        page = Page(data[HTML])
        assert "\x1b" not in data[TEXT] and all("onerror" not in attributes for _, attributes in page.tags)
        if kind == "audit":
            inner = str(page.all("iframe")[0]["srcdoc"])
            assert len(Page(inner).all("script")) == 2 and not Page(inner).all("img")
            assert unescape(data[HTML]).count("onerror") > 3  # in the data, as text


def test_missing_values_are_dashes(results):
    nan = float("nan")
    audit = results["audit"]
    audit = dataclasses.replace(audit, mean_accuracy=nan, consistency=nan, seconds=nan, nonfinite=24,
                                accuracy_map=np.full_like(audit.accuracy_map, nan),
                                predictions=np.full_like(audit.predictions, NONFINITE))
    assert "mean –, worst case" in summary(audit) and "24 non-finite predictions" in summary(audit)
    training = dataclasses.replace(results["training"], history=[
        {"epoch": 1, "train_loss": nan, "train_accuracy": 0.5, "val_accuracy": None}])
    assert "loss –, training accuracy 50.0 %, validation accuracy –" in summary(training)
    for record in (audit, training):
        data, _ = mimebundle(record)
        assert {TEXT, PNG, HTML} == set(data) and not re.search(r"\bnan\b", data[TEXT])


def test_results_without_figure_display_text(results):
    assert set(mimebundle(results["units"])[0]) == {TEXT}
    unseen = dataclasses.replace(results["audit"], shown_index=np.zeros(0, int),
                                 shown_images=results["audit"].shown_images[:0],
                                 shown_logits=results["audit"].shown_logits[:0])
    assert [tag for tag, _ in Page(mimebundle(unseen)[0][HTML]).tags if tag != "br"] == ["div", "p", "img"]


def test_audit_of_one_image(results):
    audit = results["audit"]
    one = dataclasses.replace(audit, images=1, labels=audit.labels[:1], predictions=audit.predictions[:1],
                              shown_index=audit.shown_index[:1], shown_images=audit.shown_images[:1],
                              shown_logits=audit.shown_logits[:1])
    data, _ = mimebundle(one)
    assert ": 1 test image at" in data[TEXT] and "<iframe" in data[HTML]


def test_long_pages_show_fewer_images(results, monkeypatch):
    whole = len(mimebundle(results["audit"], include=[HTML])[0][HTML])
    monkeypatch.setattr("shiftscope.notebook.display.MAX_LENGTH", whole - 5000)
    fewer = mimebundle(results["audit"], include=[HTML])[0][HTML]
    assert "<iframe" in fewer and len(fewer) < whole - 4000
    monkeypatch.setattr("shiftscope.notebook.display.MAX_LENGTH", 1000)
    assert "<iframe" not in mimebundle(results["audit"], include=[HTML])[0][HTML]


def test_unknown_kind_displays_its_scalars():
    class Odd(Record):
        kind = "odd"

    try:
        assert summary(Odd()) == "Result of kind 'odd'\n"
    finally:
        del KINDS["odd"]


WITHOUT = """
import sys
for name in {blocked}: sys.modules[name] = None
from shiftscope.results import load_record
from IPython.terminal.interactiveshell import TerminalInteractiveShell as Shell
record = load_record(sys.argv[1])
if {shell}:
    data, _ = Shell.instance().display_formatter.format(record)
else:
    data, _ = record._repr_mimebundle_({asked})
print(data["text/plain"].splitlines()[0], sorted(data))
print([name for name in ("torch", "matplotlib") if sys.modules.get(name)])
"""


@pytest.mark.parametrize("blocked, shell, asked, shown, loaded", [
    (["torch"], False, "", [PNG, HTML, TEXT], ["matplotlib"]),
    (["torch", "matplotlib"], False, "include=['text/plain']", [TEXT], []),
    (["torch", "matplotlib"], False, "", [TEXT], []),
    (["torch"], True, "", [TEXT], [])], ids=["without torch", "words alone", "no matplotlib", "terminal"])
def test_display_needs_no_torch_and_text_no_matplotlib(results, tmp_path, blocked, shell, asked, shown, loaded):
    results["audit"].save(tmp_path)
    script = WITHOUT.format(blocked=blocked, shell=shell, asked=asked)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, modules = done.stdout.splitlines()
    assert first == f"{summary(results['audit']).splitlines()[0]} {sorted(shown)}" and modules == str(loaded)
