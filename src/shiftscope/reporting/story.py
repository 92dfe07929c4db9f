"""What a run says, in plain sentences whose numbers are computed from its results."""

from collections.abc import Sequence

from shiftscope.reporting.cells import ControlCell, find_cell, models_of, moving_cost
from shiftscope.reporting.wording import is_number, model_title, percent, points, thing


def conclusion(cells: Sequence[ControlCell], dataset: str) -> list[str]:
    """Return the few sentences that a reader should take away, the most important first.

    >>> cells = [ControlCell("two-full", "centered", "centered", 0.88), ControlCell("two-full", "random", "random", 0.767)]
    >>> conclusion(cells, "garments")[0]
    'Moving the garment costs the perceptron 11.3 points: it gets 88.0 % right when trained and tested in the middle, \
76.7 % at random places.'
    """
    what = thing(dataset)
    models = models_of(cells)
    sentences = [_cost(cells, model, what) for model in models] + [_surprise(cells, model, what) for model in models]
    return [sentence for sentence in (*sentences, _best(cells)) if sentence]


def _accuracy(cells: Sequence[ControlCell], model: str, trained: str, tested: str) -> float | None:
    cell = find_cell(cells, model, trained, tested)
    return cell.mean if cell is not None and is_number(cell.mean) else None


def _cost(cells: Sequence[ControlCell], model: str, what: str) -> str:
    """What moving costs, where the model was trained both ways."""
    cost = moving_cost(cells, model)
    if cost is None:
        return ""
    still, moved = (percent(_accuracy(cells, model, place, place)) for place in ("centered", "random"))
    what_it_costs = "nothing" if cost <= 0 else points(cost)
    return (f"Moving the {what} costs the {model_title(model)} {what_it_costs}: it gets {still} right when trained and "
            f"tested in the middle, {moved} at random places.")


def _surprise(cells: Sequence[ControlCell], model: str, what: str) -> str:
    """What happens to a model that never saw a moved object."""
    still, moved = (_accuracy(cells, model, "centered", tested) for tested in ("centered", "random"))
    if still is None or moved is None or moved >= still:
        return ""
    return (f"Trained only on centered images, the {model_title(model)} falls from {percent(still)} to {percent(moved)} "
            f"when the {what} moves.")


def _best(cells: Sequence[ControlCell]) -> str:
    """Who is ahead at random places."""
    ranking = [(mean, model_title(model)) for model in models_of(cells)
               if (mean := _accuracy(cells, model, "random", "random")) is not None]
    ranking.sort(key=lambda entry: -entry[0])
    if not ranking:
        return ""
    (best, name), *others = ranking
    if not others:
        return f"At random places the {name} gets {percent(best)} right."
    second, other = others[0]
    return f"At random places the {name} gets {percent(best)} right, {points(best - second)} more than the {other}."
