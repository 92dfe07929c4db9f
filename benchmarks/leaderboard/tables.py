"""Markdown tables of the leaderboard, one number per cell."""

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase

from leaderboard.figures import Board, Row, describe_task, format_percentage, require_rows
from shiftscope.reporting.formatting import MISSING, count

METRICS = {"mean": "mean_accuracy", "worst case": "worst_case_accuracy", "consistency": "consistency",
           "unanimity": "unanimity", "centered": "middle_accuracy"}
"""Headings of the main table, and the metrics below them; all in percent."""

TESTED = {"mean": "mean_accuracy", "worst case": "worst_case_accuracy"}
"""Metrics with intervals and tests."""

Column = tuple[str, Callable[[Row], str]]
"""Heading and cell text of a column."""


def main_table(board: Board) -> str:
    """Return the main result, the task and the main table as Markdown.

    Raises:
        UsageError: no rows.
    """
    require_rows(board)
    columns: list[Column] = [(f"{heading}, %", lambda row, metric=metric: _metric(row, metric))
                             for heading, metric in METRICS.items()]
    columns.append(("invariance", lambda row: row.claim or MISSING))
    return "\n".join([*_table(board.rows, columns), "", f"{describe_task(board)} Means over seeds."])


def main_result(board: Board) -> str:
    """Return the best row and the largest gap between mean and worst-case accuracy in one or two sentences.

    Raises:
        UsageError: no rows.
    """
    require_rows(board)
    measured = [row for row in board.rows if row.seeds]
    best = max(measured, key=lambda row: row.estimates["worst_case_accuracy"].mean)
    widest = max(measured, key=_gap)
    text = (f"**Main result.** *{best.title}* classifies {_percentage(best, 'worst_case_accuracy')} % of the test "
            f"images correctly at every one of the {board.placements:,} placements.")
    if _gap(widest) > 0:
        text += (f" The largest gap between mean and worst-case accuracy is that of *{widest.title}*: "
                 f"{_percentage(widest, 'mean_accuracy')} and {_percentage(widest, 'worst_case_accuracy')} %.")
    return text


def _gap(row: Row) -> float:
    return row.estimates["mean_accuracy"].mean - row.estimates["worst_case_accuracy"].mean


def detail_tables(board: Board) -> str:
    """Return the tables of uncertainty, training and invariance with their notes as Markdown.

    Raises:
        UsageError: no rows.
    """
    require_rows(board)
    measured = [row for row in board.rows if row.seeds]
    machines = {name: letter for letter, name in zip(
        ascii_lowercase, dict.fromkeys(row.machine for row in measured if row.machine), strict=False)}
    return "\n".join([
        "### Intervals and tests", "", *_table(measured, _uncertainty()), "", *UNCERTAINTY_NOTES, "",
        "### Training", "", *_table(measured, _training(machines)), "",
        *(f"- Machine {letter}: {name}." for name, letter in machines.items()), "",
        "### Invariance", "", *_table(measured, INVARIANCE), "", *INVARIANCE_NOTES])


def _uncertainty() -> list[Column]:
    columns: list[Column] = []
    for heading, metric in TESTED.items():
        columns += [(f"{heading}: std", lambda row, metric=metric: _points(row.estimates[metric].std)),
                    (f"{heading}: from, %", lambda row, metric=metric: _end(row, metric, 0)),
                    (f"{heading}: to, %", lambda row, metric=metric: _end(row, metric, 1)),
                    (f"{heading}: p", lambda row, metric=metric: format_p_value(row.p_values.get(metric)))]
    return columns


def _training(machines: Mapping[str, str]) -> list[Column]:
    return [("seeds", lambda row: str(row.seeds)), ("parameters", lambda row: count(row.parameters)),
            ("epochs", lambda row: count(row.epochs)),
            ("minutes", lambda row: _minutes(row, 0)), ("std", lambda row: _minutes(row, 1)),
            ("machine", lambda row: machines.get(row.machine, MISSING))]


INVARIANCE: list[Column] = [
    ("claim", lambda row: row.claim or MISSING), ("predictions", lambda row: f"{row.predictions:,}"),
    ("differ from the centered one", lambda row: f"{row.flips:,}"), ("ties", lambda row: f"{row.ties:,}")]

UNCERTAINTY_NOTES = [
    "- std: sample standard deviation over seeds, in percentage points.",
    "- from, to: 95 % confidence interval over images; for several seeds, the mean of their intervals.",
    "- p: p-value of the comparison with the next row below. The two models of a seed are compared on the same images: "
    "worst-case accuracy with McNemar's test, mean accuracy with a paired z-test. The table shows the largest value "
    "over the common seeds, and 1 if the seeds disagree about which model is better.",
    "- Bold in the main table: the best value, if it is better than the second best with p < 0.05.",
    "- Chance is computed from the numbers of classes K and placements P. One class for all: accuracy 1/K, the "
    "same prediction everywhere. A random guess at each placement: worst case K^-P, unanimity K^(1-P), "
    "consistency 1/P + (1 - 1/P)/K."]

INVARIANCE_NOTES = [
    "- Claim: invariance that follows from the architecture, before any training (`shiftscope models list` gives "
    "the reasons).",
    "- Predictions: images times placements, over all seeds.",
    "- Ties: predictions whose two largest outputs are equal, or so close that rounding may decide."]


def _percentage(row: Row, metric: str) -> str:
    return format_percentage(row.estimates[metric].mean)


def _metric(row: Row, metric: str) -> str:
    text = _percentage(row, metric)
    return f"**{text}**" if metric in row.bold else text


def _points(std: float | None) -> str:
    return MISSING if std is None else f"{100 * std:.1f}"


def _end(row: Row, metric: str, index: int) -> str:
    interval = row.estimates[metric].interval
    return MISSING if interval is None else f"{100 * interval[index]:.1f}"


def _minutes(row: Row, index: int) -> str:
    seconds = row.train_seconds and row.train_seconds[index]
    return MISSING if seconds is None else f"{seconds / 60:.1f}"


def format_p_value(p_value: float | None) -> str:
    """Return a p-value with two digits.

    >>> format_p_value(0.0312), format_p_value(1e-9), format_p_value(None)
    ('0.031', '< 0.001', '–')
    """
    if p_value is None:
        return MISSING
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def format_time(seconds: tuple[float, float | None] | None) -> str:
    """Return the mean and standard deviation of a training time.

    >>> format_time((24.04, 1.23)), format_time((754.0, None)), format_time(None)
    ('24 ± 1 s', '12.6 min', '–')
    """
    if seconds is None:
        return MISSING
    scale, unit, digits = (60, "min", 1) if seconds[0] >= 100 else (1, "s", 0)
    spread = "" if seconds[1] is None else f" ± {seconds[1] / scale:.{digits}f}"
    return f"{seconds[0] / scale:.{digits}f}{spread} {unit}"


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Return the lines of a table: the titles, which do not wrap, and columns of numbers aligned on the right."""
    headings = ["model", *(heading for heading, _ in columns)]
    rules = ["---", *["---:"] * len(columns)]
    lines = [[_unwrapped(text) for text in (row.title, *(cell(row) for _, cell in columns))] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in (headings, rules, *lines)]


def _unwrapped(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")
