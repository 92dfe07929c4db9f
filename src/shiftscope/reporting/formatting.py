"""Numbers, names and credits as text, the same in all figures and in the report."""

import math
import textwrap
from collections.abc import Sequence

MODEL_TITLES = {"two-full": "perceptron", "two-conv": "convnet"}
"""Display names of the two course models."""

SYNTHETIC = "Images: synthetic garments"
"""Credit of all figures with images that Shiftscope generated."""

_CREDITS = {"garments": SYNTHETIC, "fashion-mnist": "Images: Fashion-MNIST, (c) 2017 Zalando SE, MIT license",
            "mnist": "Images: MNIST, (c) Y. LeCun, C. Cortes, C. J. C. Burges, CC BY-SA 3.0"}

MISSING = "–"
"""Shown instead of a missing number."""

UNDEFINED = "not defined"
"""Shown in a figure instead of a number that is not finite."""


def image_credit(dataset: str, *, synthetic: bool = False, preparation: str = "") -> str:
    """Return the line that names the source of the images in a figure, and states how they were resized.

    >>> image_credit("garments"), image_credit("cats", preparation="1 of 9 images stretched to 4 x 4 pixels")
    ('Images: synthetic garments', 'Images: cats; 1 of 9 images stretched to 4 x 4 pixels')
    """
    credit = SYNTHETIC if synthetic else _CREDITS.get(dataset, f"Images: {shorten(dataset, 80)}")
    return f"{credit}; {preparation}" if preparation else credit


def image_title(names: Sequence[str], number: int, *, width: int = 40) -> str:
    """Return the name of an image, at most `width` characters from its end, or its number if it has no name.

    >>> image_title([], 23), image_title(["cat/001.jpg"], 0), image_title(["animals/cat/001.jpg"], 0, width=12)
    ('image 23', 'cat/001.jpg', '…cat/001.jpg')
    """
    if not names:
        return f"image {number}"
    name = " ".join(names[number].split())
    return name if len(name) <= width else "…" + name[len(name) - width + 1:].removeprefix("/")


def model_title(model: str) -> str:
    """Return the display name of a model.

    >>> model_title("two-full"), model_title("my_module:Net")
    ('perceptron', 'my_module:Net')
    """
    return MODEL_TITLES.get(model, shorten(model, 40))


def series_title(model: str, trained: str) -> str:
    """Return the display name of a model, with its training placement if the model was trained centered.

    >>> series_title("two-full", "centered")
    'perceptron, trained centered'
    """
    return f"{model_title(model)}, trained centered" if trained == "centered" else model_title(model)


def shorten(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters, with an ellipsis if it was cut.

    >>> shorten("Ankle boot", 20), shorten("a very long class name", 10)
    ('Ankle boot', 'a very lo…')
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[:width - 1].rstrip() + "…"


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of `text`, none longer than `width`; a percent sign stays with its number."""
    return textwrap.wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), max(width, 10))


def is_finite(value: float | None) -> bool:
    """Return True if `value` is a finite number."""
    return value is not None and math.isfinite(value)


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction from 0 to 1 in percent.

    >>> percent(0.7671), percent(float("nan"))
    ('76.7 %', '–')
    """
    return f"{100 * fraction:.{digits}f} %" if fraction is not None and is_finite(fraction) else MISSING


def percent_spread(mean: float | None, spread: float | None) -> str:
    """Return a mean fraction and its standard deviation, if known, in percent.

    >>> percent_spread(0.7671, 0.0021)
    '76.7 ± 0.2 %'
    """
    if mean is None or spread is None or not (is_finite(mean) and is_finite(spread)):
        return percent(mean)
    return f"{100 * mean:.1f} ± {100 * spread:.1f} %"


def points(difference: float | None) -> str:
    """Return a difference of two fractions in percentage points, without its sign.

    >>> points(-0.1132), points(0.01)
    ('11.3 points', '1.0 point')
    """
    if difference is None or not is_finite(difference):
        return MISSING
    text = f"{abs(100 * difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def accuracy_change(drop: float | None) -> str:
    """Return a drop in accuracy as a signed change in percentage points.

    >>> accuracy_change(0.113), accuracy_change(-0.02), accuracy_change(0.0)
    ('−11.3 points', '+2.0 points', '0.0 points')
    """
    if drop is None or not is_finite(drop):
        return MISSING
    sign = "" if round(100 * drop, 1) == 0 else "−" if drop > 0 else "+"
    return sign + points(drop)


def count(value: float | None) -> str:
    """Return an integer with thousands separators.

    >>> count(314710)
    '314,710'
    """
    return f"{value:,.0f}" if value is not None and is_finite(value) else MISSING


def listing(parts: Sequence[str]) -> str:
    """Join words as in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else list(parts))
