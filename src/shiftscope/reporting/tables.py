"""Tables of the report as plain text cells, computed from results."""

from collections.abc import Sequence
from dataclasses import dataclass

from shiftscope.progress import duration
from shiftscope.reporting.cells import PLACES, ControlCell, find_cell, mean_and_spread, models_of
from shiftscope.reporting.wording import MISSING, change, count, model_title, percent_spread
from shiftscope.results import Evaluation, TrainResult


@dataclass(frozen=True)
class ModelRow:
    """One line of the results table: a model trained one way, mean and spread over its seeds, as text."""

    model: str
    title: str
    trained: str
    seeds: int
    parameters: str
    epochs: str
    seconds: str
    rate: str
    accuracy: dict[str, str]
    """By "test random", "test centered", "train random", "train centered"."""


def model_rows(training: Sequence[TrainResult], evaluations: Sequence[Evaluation]) -> list[ModelRow]:
    """Return a row for each model and way of training, in the order of `training`, then of `evaluations`."""
    keys = [(result.model, result.trained) for result in (*training, *evaluations)]
    return [_row(model, trained, [result for result in training if (result.model, result.trained) == (model, trained)],
                 [found for found in evaluations if (found.model, found.trained) == (model, trained)])
            for model, trained in dict.fromkeys(keys)]


def _row(model: str, trained: str, training: list[TrainResult], evaluations: list[Evaluation]) -> ModelRow:
    accuracy = {}
    for split in ("test", "train"):
        for place in ("random", "centered"):
            values = [found.accuracy[place] for found in evaluations if found.split == split]
            accuracy[f"{split} {place}"] = percent_spread(*mean_and_spread(values)) if values else MISSING
    seconds = [result.train_seconds for result in training]
    rates = [result.images_per_second for result in training]
    return ModelRow(
        model=model, title=model_title(model), trained=trained, accuracy=accuracy,
        seeds=len({result.seed for result in training or evaluations}),
        parameters=count(training[0].parameters) if training else MISSING,
        epochs=count(training[0].epochs) if training else MISSING,
        seconds=duration(sum(seconds) / len(seconds)) if seconds else MISSING,
        rate=count(sum(rates) / len(rates)) if rates else MISSING)


@dataclass(frozen=True)
class ControlTable:
    """The 2 x 2 table of one model as text: rows trained centered and moved."""

    title: str
    rows: list[tuple[str, str, str, str]]
    """(trained, tested centered, tested on random placements, what moving in the test costs)."""


def control_tables(cells: Sequence[ControlCell]) -> list[ControlTable]:
    """Return the 2 x 2 table of every model that has cells."""
    return [ControlTable(title=model_title(model), rows=[_control_row(cells, model, trained) for trained in PLACES])
            for model in models_of(cells)]


def _control_row(cells: Sequence[ControlCell], model: str, trained: str) -> tuple[str, str, str, str]:
    still, moved = (find_cell(cells, model, trained, tested) for tested in PLACES)
    cost = change(still.mean - moved.mean) if still and moved else MISSING
    return trained, _cell_text(still), _cell_text(moved), cost


def _cell_text(cell: ControlCell | None) -> str:
    return percent_spread(cell.mean, cell.spread) if cell else "not measured"
