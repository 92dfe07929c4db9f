"""Words and numbers as figures and report write them, so that both say the same thing the same way."""

import math
import textwrap
from collections.abc import Sequence

MODEL_TITLES = {"two-full": "perceptron", "two-conv": "convnet"}
"""What the course calls its two models."""

DRAWN = "synthetic garments (synthetic)"
"""What every figure of our own drawings says."""

_CREDITS = {
    "garments": DRAWN,
    "fashion-mnist": "Images: Fashion-MNIST, (c) 2017 Zalando SE, MIT license",
}

MISSING = "–"
"""Stands where there is no number."""


def image_credit(dataset: str, *, synthetic: bool = False) -> str:
    """Return the line that says where the pictures of a figure come from.

    >>> image_credit("garments")
    'synthetic garments (synthetic)'
    >>> image_credit("folder:cats")
    'Images: folder:cats'
    """
    return DRAWN if synthetic else _CREDITS.get(dataset, f"Images: {shorten(dataset, 80)}")


def thing(dataset: str) -> str:
    """Return what lies on the canvas: a garment, or for other datasets an object."""
    return "garment" if dataset in _CREDITS else "object"


def model_title(model: str) -> str:
    """Return the name that people use for a model.

    >>> model_title("two-full"), model_title("my_module:Net")
    ('perceptron', 'my_module:Net')
    """
    return MODEL_TITLES.get(model, shorten(model, 40))


def series_title(model: str, trained: str) -> str:
    """Return the name of a model together with how it was trained, where that is not the usual way.

    >>> series_title("two-full", "centered")
    'perceptron, trained centered'
    """
    return f"{model_title(model)}, trained centered" if trained == "centered" else model_title(model)


def shorten(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters, with an ellipsis where something was cut.

    >>> shorten("Ankle boot", 20), shorten("a very long class name", 10)
    ('Ankle boot', 'a very lo…')
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[:width - 1].rstrip() + "…"


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of `text`, none longer than `width`; a percent sign stays with its number."""
    return textwrap.wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), max(width, 10))


def is_number(value: float | None) -> bool:
    """Return whether `value` is there and finite."""
    return value is not None and math.isfinite(value)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share from 0 to 1 in percent.

    >>> percent(0.7671), percent(float("nan"))
    ('76.7 %', '–')
    """
    return f"{100 * share:.{digits}f} %" if share is not None and is_number(share) else MISSING


def percent_spread(mean: float | None, spread: float | None) -> str:
    """Return a mean share and its spread in percent; the mean alone where there is no spread.

    >>> percent_spread(0.7671, 0.0021)
    '76.7 ± 0.2 %'
    """
    if mean is None or spread is None or not (is_number(mean) and is_number(spread)):
        return percent(mean)
    return f"{100 * mean:.1f} ± {100 * spread:.1f} %"


def points(difference: float | None) -> str:
    """Return a difference of two shares in percentage points, without its sign.

    >>> points(-0.1132), points(0.01)
    ('11.3 points', '1.0 point')
    """
    if difference is None or not is_number(difference):
        return MISSING
    text = f"{abs(100 * difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def change(cost: float | None) -> str:
    """Return what a cost in accuracy changes, with its sign: what is lost has a minus.

    >>> change(0.113), change(-0.02), change(0.0)
    ('−11.3 points', '+2.0 points', '0.0 points')
    """
    if cost is None or not is_number(cost):
        return MISSING
    sign = "" if round(100 * cost, 1) == 0 else "−" if cost > 0 else "+"
    return sign + points(cost)


def count(value: float | None) -> str:
    """Return a whole number with separators.

    >>> count(314710)
    '314,710'
    """
    return f"{value:,.0f}" if value is not None and is_number(value) else MISSING


def listing(parts: Sequence[str]) -> str:
    """Join words as in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else list(parts))
