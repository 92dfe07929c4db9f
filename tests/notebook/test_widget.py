import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import shiftscope
from shiftscope.errors import UsageError
from shiftscope.notebook.widget import explorer
from shiftscope.results import NONFINITE

anywidget = pytest.importorskip("anywidget", reason="needs anywidget: pip install -e .[dev]")


@pytest.fixture
def audit(results):
    """Of 60 images at 6 x 4 placements on 33 x 31; the middle one is (2, 1)."""
    return results["audit"]


@pytest.fixture(scope="module")
def around(results):
    """Images of the same dataset in circular mode, every eleventh shift."""
    data = shiftscope.load_dataset("garments").limit(20)
    place = shiftscope.Placement(image=(28, 28), canvas=(33, 31), mode="circular", step=11)
    return shiftscope.audit(shiftscope.models.TwoFullNet(N=6, canvas=(33, 31)), data, placement=place, engine="brute")


def test_widget_starts_at_the_middle_offset(audit):
    widget = audit.widget()
    assert isinstance(widget, anywidget.AnyWidget)
    assert (widget.image, widget.dy, widget.dx) == (0, 2, 1)
    assert len(widget.payload["groups"]) == 1
    state = widget.get_state()
    assert "export default" in state["_esm"] and ".shiftscope" in state["_css"]


def test_predictions_match_the_audit(audit):
    widget = audit.widget()
    seen = []
    widget.observe(lambda change: seen.append((change.name, change.new)), ["image", "dy", "dx"])
    for image in (0, 5, 23):
        for place, (dy, dx) in enumerate(audit.offsets.tolist()):
            widget.image, widget.dy, widget.dx = image, dy, dx
            number = widget.payload["groups"][0]["images"]["numbers"][image]
            said, label = int(audit.predictions[number, place]), int(audit.labels[number])
            (answer,) = widget.predictions
            assert answer["model"] == "two-full" and answer["prediction"] == audit.class_names[said]
            assert answer["correct"] is (said == label) and widget.label == audit.class_names[label]
            logits = audit.shown_logits[audit.shown_index == number][0, place].astype(float)
            expected = np.exp(logits) / np.exp(logits).sum()
            assert list(answer["confidences"]) == audit.class_names
            assert list(answer["confidences"].values()) == pytest.approx(expected.tolist(), rel=1e-9)
            assert answer["confidence"] == answer["confidences"][audit.class_names[said]]
            assert type(answer["confidence"]) is float
    assert ("image", 23) in seen and ("dx", 3) in seen


def test_numpy_integers_can_be_assigned(audit):
    widget = audit.widget()
    widget.dy, widget.dx = audit.worst_offset[0]
    assert [widget.dy, widget.dx] == audit.worst_offset[0].tolist() and type(widget.dy) is int


@pytest.mark.parametrize("name, value, message", [
    ("dy", 6, r"^dy must be one of the 6 audited values, 0 to 5, got 6$"),
    ("dx", -1, r"^dx must be one of the 4 audited values, 0 to 3, got -1$"),
    ("image", 24, r"^image must be from 0 to 23, the index of a shown image, got 24$"),
    ("image", -1, "from 0 to 23"), ("dy", 1.5, r"^dy must be an integer, got 1\.5$"),
    ("dx", "1", r"^dx must be an integer, got '1'$"), ("image", None, "an integer")])
def test_invalid_values_are_rejected_and_change_nothing(audit, name, value, message):
    widget = audit.widget()
    before = widget.image, widget.dy, widget.dx
    with pytest.raises(UsageError, match=message):
        setattr(widget, name, value)
    with pytest.raises(UsageError, match=message), widget.hold_trait_notifications():
        setattr(widget, name, value)
    with pytest.raises(UsageError, match=message):
        widget.set_state({name: value})  # as a foreign page would
    assert (widget.image, widget.dy, widget.dx) == before


def test_several_models_in_one_widget(audit):
    other = dataclasses.replace(audit, model="other", predictions=(audit.predictions + 1) % 10)
    widget = explorer([audit, other])
    one, two = widget.predictions
    assert (one["model"], two["model"]) == ("two-full", "other") and one["prediction"] != two["prediction"]
    names = audit.class_names
    assert names.index(two["prediction"]) == (names.index(one["prediction"]) + 1) % 10


def test_audits_of_different_images_or_placements_are_rejected(audit, around):
    with pytest.raises(UsageError, match="2 different sets of images or placements, expected one"):
        explorer([audit, around])
    with pytest.raises(UsageError, match="at least one audit, got none"):
        explorer([])
    empty = dataclasses.replace(audit, shown_index=np.zeros(0, int), shown_images=audit.shown_images[:0],
                                shown_logits=audit.shown_logits[:0])
    with pytest.raises(UsageError, match="hold no images to show"):
        empty.widget()


def test_circular_offsets_wrap_around(around):
    widget = around.widget()
    rows, columns = around.rows.tolist(), around.columns.tolist()
    assert (widget.dy, widget.dx) == (0, 0)
    widget.dy, widget.dx = rows[-1] - 33, columns[-1] + 31
    assert (widget.dy, widget.dx) == (rows[-1], columns[-1])
    with pytest.raises(UsageError, match=rf"dy must be one of the {len(rows)} audited values, 0, 11, 22, got 5"):
        widget.dy = 5 - 33


def test_mode_fill_has_offsets_below_zero():
    data = shiftscope.load_dataset("garments").limit(20)
    place = shiftscope.Placement(image=(28, 28), canvas=(28, 28), mode="fill", fill="reflect", max_shift=2, step=2)
    model = shiftscope.models.TwoFullNet(N=6, canvas=(28, 28))
    widget = shiftscope.audit(model, data, placement=place, engine="brute").widget()
    assert (widget.dy, widget.dx) == (0, 0) and widget.payload["groups"][0]["fill"] == "reflect"
    widget.dy, widget.dx = -2, 2
    assert (widget.dy, widget.dx) == (-2, 2) and widget.predictions[0]["prediction"] in data.class_names
    with pytest.raises(UsageError, match="dy must be one of the 3 audited values, -2, 0, 2, got -1"):
        widget.dy = -1


def test_missing_and_nonfinite_outputs_have_no_prediction(audit):
    kept = np.arange(1, 24)
    sampled = dataclasses.replace(
        audit, sampled=True, placements=23, offsets=audit.offsets[kept],
        predictions=audit.predictions[:, kept].copy(), shown_logits=audit.shown_logits[:, kept])
    sampled.predictions[:, 0] = NONFINITE
    widget = sampled.widget()
    widget.dy, widget.dx = 0, 0
    assert widget.predictions[0] == {"model": "two-full", "prediction": None, "correct": None, "confidence": None,
                                     "confidences": {}}
    widget.dx = 1
    assert widget.predictions[0]["prediction"] is None and widget.predictions[0]["correct"] is False


def test_figure_is_the_fallback_without_a_kernel(audit):
    data, _ = audit.widget()._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/png"} <= set(data)
    assert data["text/plain"].startswith("Audit of two-full on garments")


def test_missing_anywidget_is_reported(audit, tmp_path):
    audit.save(tmp_path)
    script = ("import sys\nsys.modules['anywidget'] = None\nfrom shiftscope.results import Audit\n"
              "from shiftscope.errors import UsageError\naudit = Audit.load(sys.argv[1])\naudit._repr_mimebundle_()\n"
              "try:\n    audit.widget()\nexcept UsageError as error:\n    print(error, 'torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and 'pip install "shiftscope[notebook]"' in done.stdout and "False" in done.stdout
