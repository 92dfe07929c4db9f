"""The table of audited images: computed by plain loops, read back by the csv module, and safe for spreadsheets."""

import csv
import dataclasses
import io

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import OutputError
from shiftscope.placement import Placement
from shiftscope.results import NONFINITE, Audit
from shiftscope.results.image_table import COLUMNS, NONFINITE_LABEL, image_table, is_image_table, to_csv, write_csv

PLACE = Placement(image=(4, 6), canvas=(7, 8))
NAMES = ("a", "b, with \"quotes\"\nand lines", "c")


@pytest.fixture(scope="module")
def found() -> Audit:
    generator = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randint(0, 256, (15, 1, 4, 6), dtype=torch.uint8, generator=generator),
                          torch.arange(15) % 3)
    data = Dataset(name="noise", class_names=NAMES, train=images, test=images, source="-", license="-")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(56, 3))
    return audit(net, data, placement=PLACE, name="net")


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_row_equals_a_count_over_the_placements(found):
    table = image_table(found)
    assert tuple(table) == COLUMNS and {len(values) for values in table.values()} == {15}
    middle = [tuple(offset) for offset in found.offsets.tolist()].index(PLACE.middle)
    for image in range(15):
        row, predictions = {name: table[name][image] for name in COLUMNS}, found.predictions[image].tolist()
        counts = [predictions.count(cls) for cls in range(3)]
        assert row["image"] == image and row["label"] == NAMES[image % 3]
        assert row["prediction"] == NAMES[counts.index(max(counts))]
        assert row["middle_prediction"] == NAMES[predictions[middle]]
        assert row["correct_count"] == counts[image % 3] and row["fraction_correct"] == counts[image % 3] / 12
        assert row["consistency"] == pytest.approx(sum((count / 12) ** 2 for count in counts))
        assert [row["smallest_margin"], row["mean_margin"]] == found.margins[image].tolist()
        assert [row["worst_dy"], row["worst_dx"]] == found.worst_offset[image].tolist()
    assert table["fraction_correct"].mean() == pytest.approx(found.mean_accuracy)
    assert table["consistency"].mean() == pytest.approx(found.consistency)
    assert set(table["model"]) == {"net"} and set(table["placements"]) == {12} and set(table["mode"]) == {"canvas"}


def test_the_file_has_the_same_rows_in_the_order_of_the_dataset(found, tmp_path):
    found.write_csv(tmp_path / "images.csv")
    rows, table = read((tmp_path / "images.csv").read_text()), found.table()
    assert [int(row["image"]) for row in rows] == list(range(15)) and tuple(rows[0]) == COLUMNS
    for name in ("label", "prediction", "middle_prediction", "model", "split"):
        assert [row[name] for row in rows] == table[name].tolist()
    for name in ("fraction_correct", "consistency", "smallest_margin", "mean_margin"):
        assert [float(row[name]) for row in rows] == pytest.approx(table[name].tolist(), rel=1e-5)
    least = min(rows, key=lambda row: float(row["consistency"]))
    assert float(least["consistency"]) == pytest.approx(table["consistency"].min(), rel=1e-5)


def test_files_are_named_where_they_are_known(found):
    assert set(image_table(found)["file"]) == {""}
    named = dataclasses.replace(found, image_names=[f"=x/{number},a.png" for number in range(15)])
    assert image_table(named)["file"].tolist() == named.image_names
    assert [row["file"] for row in read(to_csv([named]))] == [f"'{name}" for name in named.image_names]


def test_several_models_are_below_each_other(found):
    other = dataclasses.replace(found, model="other", trained="centered")
    rows = read(to_csv([found, other]))
    assert [(row["model"], row["trained"]) for row in rows] == [("net", "unknown")] * 15 + [("other", "centered")] * 15


def test_undefined_values(found):
    predictions, margins = found.predictions.copy(), found.margins.copy()
    predictions[0], predictions[1, :1], margins[0] = NONFINITE, NONFINITE, np.nan
    margins[1, 0] = -np.inf
    labels = np.where(np.arange(15) == 2, -1, found.labels)  # an image without a label
    rows = read(to_csv([dataclasses.replace(found, predictions=predictions, margins=margins, labels=labels)]))
    assert (rows[0]["prediction"], rows[0]["middle_prediction"], rows[0]["consistency"]) == (
        NONFINITE_LABEL, NONFINITE_LABEL, "1")
    assert rows[0]["smallest_margin"] == rows[0]["mean_margin"] == "" and rows[1]["smallest_margin"] == "-inf"
    assert rows[1]["prediction"] in NAMES
    assert rows[2]["label"] == rows[2]["correct_count"] == rows[2]["fraction_correct"] == ""
    assert rows[2]["prediction"] in NAMES and float(rows[2]["consistency"]) > 0
    without = dataclasses.replace(found, offsets=found.offsets[:2], predictions=found.predictions[:, :2], placements=2)
    assert {row["middle_prediction"] for row in read(to_csv([without]))} == {""}


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)"])
def test_text_is_never_a_formula(found, name):
    hostile = dataclasses.replace(found, model=name, class_names=[name, "b", "c"])
    rows = read(to_csv([hostile]))
    assert {row["model"] for row in rows} == {f"'{name}"} and rows[0]["label"] == f"'{name}"
    assert image_table(hostile)["label"][0] == name  # only the file is for spreadsheets
    numbers = [row[column] for row in rows for column in ("smallest_margin", "mean_margin")]
    assert any(number.startswith("-") for number in numbers) and all(np.isfinite(float(number)) for number in numbers)


@pytest.mark.parametrize("name", ["\t=1", "\r=1", "\x1b[31m", "a\rb"])
def test_control_characters_are_escaped(found, name):
    rows = read(to_csv([dataclasses.replace(found, class_names=[name, "b", "c"])]))
    assert len(rows) == 15 and rows[0]["label"] == ascii(name)[1:-1]


def test_names_of_undecodable_files_are_written(found, tmp_path):
    write_csv([dataclasses.replace(found, model="caf\udce9")], tmp_path / "images.csv")
    assert read((tmp_path / "images.csv").read_text("utf-8"))[0]["model"] == "caf\\xe9"


def test_own_tables_are_recognized(found, tmp_path):
    path = tmp_path / "images.csv"
    assert not is_image_table(path) and not is_image_table(tmp_path)
    path.write_text("image,label\n0,cat\n")
    assert not is_image_table(path)
    found.write_csv(path)
    assert is_image_table(path)
    with pytest.raises(OutputError, match="cannot write"):
        found.write_csv(path / "inside.csv")
