"""One row per image of an audit: as columns for a data frame, and as a CSV file."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shiftscope import files
from shiftscope.outputs import NONFINITE_CLASS
from shiftscope.results.agreement import label_summary
from shiftscope.text import printable

if TYPE_CHECKING:
    from shiftscope.results.audit import Audit

COLUMNS = ("model", "trained", "split", "mode", "placements", "image", "file", "label", "prediction",
           "middle_prediction", "correct_count", "fraction_correct", "consistency", "smallest_margin", "mean_margin",
           "smallest_top_margin", "median_top_margin", "largest_top_margin", "lowest_confidence", "highest_confidence",
           "worst_dy", "worst_dx")
"""Columns of the table, in this order; see `image_table`."""

NONFINITE_LABEL = "non-finite"
"""Prediction if the outputs are not finite."""

_HEADER = ",".join(COLUMNS)
_FORMULA = ("=", "+", "-", "@")  # spreadsheets evaluate text that begins with one of these


def image_table(audit: "Audit") -> dict[str, np.ndarray]:
    """Return one row per image, in the order of the dataset, as columns of equal length.

    Returns:
        By name: model, trained, split, mode, placements, the same for all images; image (index in the split, from 0);
        file (name of the image; empty if unknown); label (true class; empty if unknown); prediction (most frequent
        over the placements); middle_prediction (centered image; empty if not computed); correct_count and
        fraction_correct (placements with a correct prediction; NaN without a label); consistency; smallest_margin and
        mean_margin (NaN without a label); smallest_, median_ and largest_top_margin (difference of the two largest
        outputs); lowest_ and highest_confidence (probability of the predicted class); worst_dy and worst_dx (the
        placement with the smallest margin, or top margin without a label). Classes are names, "non-finite" if the
        outputs are not finite.
    """
    names = np.array([*audit.class_names, NONFINITE_LABEL, ""])
    count, classes, unknown = len(audit.labels), len(audit.class_names), len(names) - 1
    consistency, _, frequent = label_summary(audit.predictions, classes)
    middle = audit.geometry.column(audit.offsets)
    centered = np.full(count, unknown) if middle is None else np.minimum(
        audit.predictions[:, middle].astype(np.int64), classes)
    correct = np.where(audit.labels > NONFINITE_CLASS, audit.correct_counts, np.nan)
    same: dict[str, Any] = {name: getattr(audit, name) for name in COLUMNS[:5]}
    return {name: np.full(count, value) for name, value in same.items()} | {
        "image": np.arange(count), "file": np.array(audit.image_names or [""] * count),
        "label": names[np.where(audit.labels >= 0, audit.labels, unknown)],
        "prediction": names[frequent], "middle_prediction": names[centered],
        "correct_count": correct, "fraction_correct": correct / audit.placements,
        "consistency": consistency,
        "smallest_margin": audit.margins[:, 0], "mean_margin": audit.margins[:, 1],
        "smallest_top_margin": audit.top_margins[:, 0], "median_top_margin": audit.top_margins[:, 1],
        "largest_top_margin": audit.top_margins[:, 2], "lowest_confidence": audit.confidences[:, 0],
        "highest_confidence": audit.confidences[:, 1],
        "worst_dy": audit.worst_offset[:, 0], "worst_dx": audit.worst_offset[:, 1]}


def to_csv(audits: Sequence["Audit"]) -> str:
    """Return the rows of `image_table` of all audits as text in CSV format, with a header.

    Undefined numbers are empty. Text that a spreadsheet would evaluate as a formula has an apostrophe in front, and
    control characters are escaped.
    """
    return csv_text(COLUMNS, map(image_table, audits))


def csv_text(names: Sequence[str], tables: Iterable[Mapping[str, np.ndarray]]) -> str:
    """Return the columns called `names` of all tables as text in CSV format, see `to_csv`.

    >>> csv_text(("a", "b"), [{"a": np.array(["=x"]), "b": np.array([0.5])}])
    "a,b\\n'=x,0.5\\n"
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for columns in tables:
        writer.writerows(zip(*(_cells(columns[name]) for name in names), strict=True))
    return stream.getvalue()


def write_csv(audits: Sequence["Audit"], path: Path | str) -> None:
    """Write `to_csv` into a file, which is replaced; errors are those of `files.write_text`."""
    files.write_text(path, to_csv(audits))


def is_image_table(path: Path) -> bool:
    """Return True if a file was written by `write_csv`."""
    try:
        with files.open_regular(path, files.memory()) as stream:
            return stream.readline(len(_HEADER) + 1).decode(errors="replace") == f"{_HEADER}\n"
    except OSError:
        return False


def _cells(values: np.ndarray) -> Iterable[Any]:
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else f"{value:.6g}" for value in values.tolist()]
    if values.dtype.kind == "U":
        return [f"'{text}" if text.startswith(_FORMULA) else text for text in map(printable, values.tolist())]
    return values.tolist()
