import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import (
    ControlCell,
    ReportData,
    ReportFigure,
    confusion_matrix,
    control_cells,
    render_report,
    report_figure,
)
from shiftscope.reporting.report import MODEL_SECTIONS, OPEN_SECTIONS, SECTIONS
from shiftscope.reporting.tables import model_rows
from shiftscope.reporting.web_page import asset
from shiftscope.results import ParameterRow

EVIL = "</style></script><img src=x onerror=alert(1)>"
DATASET = {"name": "fashion-mnist", "synthetic": False, "license": "MIT", "class_names": ["a", "b"], "canvas": (56, 56)}


class Page(HTMLParser):
    """Collects tags, attributes and the text that people read."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def data(make_evaluation, make_training) -> ReportData:
    evaluations = [make_evaluation(trained=trained, split=split, seed=seed, accuracy={"random": mean, "centered": 0.88})
                   for trained, mean, split, seed in (("random", 0.76, "test", 0), ("random", 0.78, "test", 1),
                                                      ("centered", 0.26, "test", 0), ("random", 0.8, "train", 0))]
    figures = {f"pic-{section}": ReportFigure(section, b"png " + section.encode(), f"alt of {section}", "words")
               for section in reversed(SECTIONS)}
    return ReportData(title="A run", dataset=DATASET, evaluations=evaluations, controls=control_cells(evaluations),
                      training=[make_training(), make_training(seed=1), make_training(trained="centered")],
                      figures=figures, environment={"seed": 0, "versions": {"torch": "2.13"}}, notes=["Mind the gap."])


def test_the_headline_comes_first(data):
    page = Page(render_report(data))
    headline = "The perceptron loses 11.0 points of accuracy on random placements"
    assert page.text.index(headline) < page.text.index("Terms") < page.text.index("Mind the gap.")
    assert "77.0 ± 1.4 %" in page.text and "standard deviation over 2 seeds" in page.text
    assert "torch" in page.text and "learning_rate 0.003" in page.text and "314,710" in page.text


def test_rows_separate_splits_and_training_placements(data):
    random, centered = model_rows(data.training, data.evaluations)
    assert (random.title, random.trained, random.seeds, random.seconds) == ("perceptron", "random", 2, "0:30")
    assert random.accuracy == {"test random": "77.0 ± 1.4 %", "test centered": "88.0 ± 0.0 %", "train random": "80.0 %",
                              "train centered": "88.0 %"}
    assert centered.accuracy["test random"] == "26.0 %" and centered.accuracy["train random"] == "–"


def test_figures_are_inlined_in_reading_order_with_alternative_texts(data):
    images = Page(render_report(data)).all("img")
    assert [image["alt"] for image in images] == [f"alt of {section}" for section in SECTIONS]
    head, _, body = str(images[0]["src"]).partition(",")
    assert head == "data:image/png;base64" and base64.b64decode(body) == b"png controls"


def test_the_page_is_self_contained_and_runs_only_its_own_script(data):
    html = render_report(data)
    page = Page(html)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    digests = []
    for inlined in (r"<style>(.*?)</style>", r'<script type="module">(.*?)</script>'):
        (text,) = re.findall(inlined, html, re.DOTALL)
        digests.append("sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())
    assert str(policy).split("; ") == ["default-src 'none'", "img-src data:", f"style-src '{digests[0]}'",
                                       f"script-src '{digests[1]}'", "base-uri 'none'", "form-action 'none'"]
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert [script["type"] for script in page.all("script")] == ["application/json"] * 2 + ["module"]
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert not any("style" in attributes or any(name.startswith("on") for name in attributes)
                   for _, attributes in page.tags)
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_hostile_names_stay_text(make_evaluation, make_training):
    evaluation = make_evaluation(model=EVIL, dataset=EVIL, class_names=[EVIL] * 3, notes=[EVIL])
    data = ReportData(
        title=EVIL, dataset={"name": EVIL, "class_names": [EVIL], "source": EVIL, "checksums": {EVIL: EVIL}},
        evaluations=[evaluation], training=[make_training(model=EVIL, dataset=EVIL)], notes=[EVIL],
        controls=[ControlCell(EVIL, "random", "random", 0.5)], environment={EVIL: {EVIL: EVIL}},
        figures={EVIL: report_figure("confusion", confusion_matrix(evaluation), EVIL)})
    page = Page(render_report(data))
    assert len(page.all("img")) == 2 and [script["type"] for script in page.all("script")] == [
        "application/json", "application/json", "module"]
    assert page.all("img")[0].keys() == {"src", "alt", "class"} and EVIL[:20] in str(page.all("img")[0]["alt"])
    assert page.text.count(EVIL) >= 6


def test_the_script_does_not_end_its_element():
    assert not re.search(r"</script|<!--", asset("app.js"), re.IGNORECASE)
    with pytest.raises(UsageError, match=r"unknown asset 'app.jss': did you mean 'app.js'\?"):
        asset("app.jss")


def test_views_come_before_their_static_figures(data, make_audit):
    html = render_report(dataclasses.replace(data, audits=[make_audit()]))
    views = [tag["data-view"] for tag in Page(html).all("div") if "data-view" in tag]
    assert views == ["explorer", "curves", "confusion"]
    assert html.index("<h2>Predictions by position") < html.index("<h2>Results")
    for view in ("curves", "confusion"):
        pattern = rf'data-of="{view}">[^<]*</script>\s*<div class="figures still">\s*<figure id="figure-pic-{view}">'
        assert re.search(pattern, html)
    data_of = re.search(r'data-of="curves">([^<]*)</script>', html)
    assert data_of and json.loads(data_of.group(1))["curves"][0]["title"] == "perceptron, mean of 2 seeds"


def test_without_data_for_a_view_there_is_no_script():
    html = render_report(ReportData(title="x", dataset={}))
    assert "<script" not in html and "script-src" not in html


def test_an_empty_report_and_missing_figures_still_make_a_page():
    page = Page(render_report(ReportData(title="Nothing yet", dataset={})))
    assert "Nothing yet" in page.text and "How this was made" in page.text
    assert "Notes" not in page.text and "None" not in page.text


def test_numbers_that_are_not_finite_are_dashes(make_evaluation, make_training):
    evaluation = make_evaluation(accuracy={"random": math.nan, "centered": 0.5}, nonfinite=3)
    data = ReportData(title="broken", dataset=DATASET, evaluations=[evaluation], controls=control_cells([evaluation]),
                      training=[make_training(images_per_second=math.nan)], environment={"speed": math.inf})
    text = Page(render_report(data)).text
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
    assert "is not finite" in text and "3 of 12 test images" in text


def test_synthetic_images_are_credited(data):
    html = render_report(ReportData(title="synthetic", dataset={"name": "garments", "synthetic": True}))
    assert html.count("Images: synthetic garments") >= 2 and "no photographs" in html
    assert "Images: Fashion-MNIST, (c) 2017 Zalando SE, MIT license" in render_report(data)


def test_a_report_is_a_pure_function_of_its_data(data):
    assert render_report(data) == render_report(data)


def test_an_unknown_section_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"unknown section of the report 'curve': did you mean 'curves'\?"):
        ReportFigure("curve", b"", "", "")


def test_audits_have_a_table_with_intervals_and_settings(data, make_audit):
    audit = make_audit(notes=["One image was odd."])
    page = Page(render_report(dataclasses.replace(data, audits=[audit], figures={})))
    mean, worst = 100 * audit.mean_accuracy, 100 * audit.worst_case_accuracy
    assert "Accuracy by position" in page.text and f"{mean:.1f} % {mean - 1:.1f} to {mean + 1:.1f}" in page.text
    assert f"{worst:.1f} %" in page.text and "12 test images at all 35 placements (exact), mode canvas" in page.text
    assert "One image was odd." in page.text
    assert "Accuracy by position" not in Page(render_report(dataclasses.replace(data, figures={}))).text


def test_a_note_names_its_model_and_is_shown_once(data, make_audit, make_evaluation):
    notes = ["centered accuracy is 8 %: one advice"]
    once = ReportData(title="t", dataset=DATASET, evaluations=[make_evaluation(model="two-full", notes=notes)],
                      audits=[make_audit(model="two-full", notes=["centered accuracy is 8 %: other advice"]),
                              make_audit(model="two-conv", notes=["centered accuracy is 8 %: other advice"])])
    text = Page(render_report(once)).text
    assert "perceptron: centered accuracy is 8 %: one advice" in text
    assert "convnet: centered accuracy is 8 %: other advice" in text
    assert text.count("centered accuracy is 8 %") == 2
    both = dataclasses.replace(data, evaluations=[], audits=[make_audit(notes=["odd"]), make_audit(model="net",
                                                                                                  notes=["odd"])])
    assert "perceptron; net: odd" in Page(render_report(both)).text


def test_contents_name_every_section_in_order(data, make_audit):
    html = render_report(dataclasses.replace(data, audits=[make_audit()], parameters={"perceptron": []}))
    nav = html[html.index("<nav"):html.index("</nav>")]
    entries = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', nav)
    sections = re.findall(r'<section id="([^"]+)">\s*<h2>([^<]+)</h2>', html)
    assert entries == sections and sections[:4] == [("summary", "Summary"), ("explore", "Predictions by position"),
                                                    ("stability", "Least stable images"), ("results", "Results")]
    assert sections[-2:] == [("models", "Models"), ("made", "How this was made")]


def test_figures_of_a_model_are_in_its_tab(make_audit):
    figures = {f"{section}-{model}": ReportFigure(section, b"png", f"{section} of {model}", "words", model, b"")
               for section in MODEL_SECTIONS for model in ("b", "a")}
    html = render_report(ReportData(title="x", dataset={}, figures=figures, audits=[make_audit(model="a")],
                                    parameters={"c": [ParameterRow("w", (2,), 2, 0.0, 1.0, 1.0)]}))
    panels = re.findall(r'<label for="tab-\d">(\w)</label>\s*<div class="panel">(.*?)(?=<input|</section>)', html,
                        re.DOTALL)
    assert [title for title, _ in panels] == ["a", "b", "c"] and html.count(" checked>") == 1
    for title, panel in panels[:2]:
        assert re.findall(r'alt="(\w+) of (\w)"', panel) == [(section, title) for section in MODEL_SECTIONS]
        assert panel.count("<details>") == len(MODEL_SECTIONS) - len(OPEN_SECTIONS)
    assert "All parameters of the c" in panels[2][1] and panels[2][1].count("<details>") == 1


def test_few_images_are_stated_below_a_hundred(make_audit):
    text = Page(render_report(ReportData(title="x", dataset={}, audits=[make_audit()]))).text
    assert "There are only 12 test images: one image is 8.3 points" in text


def test_unmeasured_controls_name_their_flag(data, make_evaluation):
    evaluations = [make_evaluation(model="two-conv"), make_evaluation(), make_evaluation(trained="centered")]
    text = Page(render_report(dataclasses.replace(data, controls=control_cells(evaluations)))).text
    assert "Not measured: convnet trained on centered images, see shiftscope run --controls." in text
    assert "not measured" not in text


def test_audits_of_several_seeds_share_a_row(data, make_audit):
    seeds = [make_audit(), dataclasses.replace(make_audit(), mean_accuracy=0.25), make_audit(trained="centered")]
    page = Page(render_report(dataclasses.replace(data, audits=seeds, figures={})))
    mean = (seeds[0].mean_accuracy + 0.25) / 2
    std = abs(seeds[0].mean_accuracy - 0.25) / 2**0.5
    assert f"{100 * mean:.1f} % ± {100 * std:.1f}" in page.text
    assert "standard deviation over 2 seeds" in page.text and page.text.count("placements (exact)") == 1
