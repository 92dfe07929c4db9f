"""Figures of benchmarks: medians as bars, and the growth of time on logarithmic axes."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from bench.record import OURS, Bench, Comparison, Contestant, GrowthLine
from shiftscope.errors import UsageError
from shiftscope.reporting.figure_style import (
    BLUE,
    INK,
    MUTED,
    SERIES,
    SKY,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    inches,
    styled,
    verbatim,
)
from shiftscope.reporting.formatting import image_credit, model_title, percent, shorten

_WIDTH, _NAMES, _ROW, _GAP = 8.2, 1.15, 0.34, 0.95
_SIDE, _TALL = 2.45, 2.1
_PANELS = 3
"""Panels per row in the figure of growth."""

_PARTS = {"training": "Training", "audit": "Audit", "visualize": "Synthesis of images", "data": "Batches"}


def format_seconds(seconds: float) -> str:
    """Return a time with three digits and its unit.

    >>> format_seconds(78.12), format_seconds(0.00251), format_seconds(1.5), format_seconds(3e-5)
    ('78.1 s', '2.51 ms', '1.5 s', '0.03 ms')
    """
    if seconds < 0.5:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def format_ratio(ratio: float) -> str:
    """Return a ratio as text.

    >>> format_ratio(4.123), format_ratio(20.2), format_ratio(0.512)
    ('4.1 times ours', '20 times ours', '0.51 times ours')
    """
    return f"{ratio:.0f} times ours" if ratio >= 9.95 else f"{ratio:.2g} times ours"


@styled
def bench_figure(bench: Bench) -> Figure:
    """Draw one panel per comparison: medians as bars, the range as a line on each bar.

    Raises:
        UsageError: no comparisons.
    """
    if not bench.comparisons:
        raise UsageError("the record holds no comparison, expected at least one; measure with "
                         "benchmarks/run_bench.py")
    title, subtitle, footer = _title(bench), _rounds(bench), (_methods(bench), *_footer(bench))
    heights = [_ROW * len(part["contestants"]) for part in bench.comparisons]
    bottom = foot_height(_WIDTH, *footer) + 0.25
    top = head_height(_WIDTH, title, subtitle) + 0.55
    figure = Figure(figsize=(_WIDTH, bottom + sum(heights) + _GAP * (len(heights) - 1) + top + 0.2))
    head(figure, title, subtitle)
    foot(figure, *footer)
    low = bottom + 0.2 + sum(heights) + _GAP * (len(heights) - 1)
    for part, height in zip(bench.comparisons, heights, strict=True):
        low -= height
        _bars(inches(figure, _NAMES, low, _WIDTH - _NAMES - 0.3, height), part)
        low -= _GAP
    return describe(figure, " ".join([title, subtitle, *map(_as_text, bench.comparisons), *footer]))


def _title(bench: Bench) -> str:
    return f"{_PARTS.get(bench.bench, bench.bench)}: comparison"


def _rounds(bench: Bench) -> str:
    return (f"Bars: medians of {bench.repeats} rounds; each method runs once per round. Lines: from the fastest to the "
            "slowest round. Shorter is faster.")


def _methods(bench: Bench) -> str:
    """Describe each method, once for all panels."""
    ways = {one["name"]: one["what"] for part in bench.comparisons for one in part["contestants"]}
    return " ".join(f"{name[0].upper()}{name[1:]}: {what.rstrip('.')}." for name, what in ways.items())


def _footer(bench: Bench) -> tuple[str, ...]:
    here = bench.machine
    machine = (f"Measured {bench.measured[:10]} on {here['processor']}, {here['cores']} cores, {here['threads']} "
               f"threads, {here['device']}, torch {here['torch']}.")
    credit = image_credit(bench.dataset, synthetic=bench.synthetic)
    return (machine, *(f"{note[0].upper()}{note[1:]}." for note in bench.notes), credit)


def _name(title: str) -> str:
    """Return the title of a comparison with the title of the model."""
    model, _, rest = title.partition(" ")
    return " ".join(filter(None, (model_title(model), rest)))


def _bars(axes: Axes, part: Comparison) -> None:
    contestants = part["contestants"]
    longest = max(max(one["seconds"]) for one in contestants)
    for y, one in enumerate(contestants):
        ours = one["name"] == OURS
        axes.barh(y, one["median"], height=0.66, color=BLUE if ours else SKY, edgecolor=INK, linewidth=0.5)
        axes.hlines(y, min(one["seconds"]), max(one["seconds"]), color=INK, linewidth=1.4)
        axes.text(max(one["seconds"]) + 0.012 * longest, y, verbatim(_label(one, part)), va="center", fontsize=8.5,
                  weight="bold" if ours else "normal")
    axes.set_yticks(range(len(contestants)), [verbatim(shorten(one["name"], 14)) for one in contestants])
    axes.set_ylim(len(contestants) - 0.5, -0.5)
    axes.set_xlim(0, 1.3 * longest)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_title(verbatim(_name(part["title"])), pad=17)
    axes.text(0, 1.0, verbatim(part["unit"] + _figures(part)), transform=axes.transAxes, fontsize=8, color=MUTED,
              va="bottom")


def _label(one: Contestant, part: Comparison) -> str:
    ratio = part["ratios"].get(one["name"])
    return format_seconds(one["median"]) + (f"  ({format_ratio(ratio)})" if ratio is not None else "")


def _figures(part: Comparison) -> str:
    values = part["figures"]
    text = ""
    if "arithmetic_seconds" in values:
        text += f"; the arithmetic alone: {format_seconds(values['arithmetic_seconds'])}"
    if "pipeline_share" in values:
        text += f"; batches take {percent(values['pipeline_share'])} of ours"
    return text


def _as_text(part: Comparison) -> str:
    ways = [f"{one['name']} {_label(one, part)}" for one in part["contestants"]]
    return f"{_name(part['title'])}, {part['unit']}{_figures(part)}: {'; '.join(ways)}."


@styled
def growth_figure(bench: Bench) -> Figure:
    """Draw one panel per growing size: our seconds on logarithmic axes, one line per model with its exponent.

    Raises:
        UsageError: the growth was not measured.
    """
    if not bench.growth:
        raise UsageError("the record holds no growth, expected at least one line; measure it with --growth")
    panels = _panels(bench.growth)
    rows = -(-len(panels) // _PANELS)
    title = f"{_PARTS.get(bench.bench, bench.bench)}: growth of time"
    subtitle = (f"Medians of {bench.repeats} rounds on logarithmic axes, and the fitted exponent k of time ~ size^k; "
                "1: twice the size takes twice the time.")
    footer, cell = _footer(bench), _TALL + 0.95
    bottom, top = foot_height(_WIDTH, *footer) + 0.5, head_height(_WIDTH, title, subtitle) + 0.3
    figure = Figure(figsize=(0.75 + _PANELS * (_SIDE + 0.25) + 0.1, bottom + rows * cell - 0.6 + top))
    head(figure, title, subtitle)
    foot(figure, *footer)
    styles = dict(zip({line["title"]: None for line in bench.growth}, SERIES, strict=False))
    for index, (axis, lines) in enumerate(panels.items()):
        row, column = divmod(index, _PANELS)
        axes = inches(figure, 0.7 + column * (_SIDE + 0.25), bottom + (rows - 1 - row) * cell, _SIDE - 0.35, _TALL)
        _lines(axes, axis, lines, styles)
        if column == 0:
            axes.set_ylabel(lines[0]["unit"])
    return describe(figure, " ".join([title, subtitle, *(_line_as_text(line) for line in bench.growth), *footer]))


def _panels(growth: list[GrowthLine]) -> dict[str, list[GrowthLine]]:
    """Return the lines by the size that grows, in their order."""
    panels: dict[str, list[GrowthLine]] = {}
    for line in growth:
        panels.setdefault(line["axis"], []).append(line)
    return panels


def format_exponent(exponent: float | None) -> str:
    """Return a fitted exponent.

    >>> format_exponent(0.987), format_exponent(None)
    ('k = 0.99', 'k unknown')
    """
    return "k unknown" if exponent is None else f"k = {exponent:.2f}"


def _lines(axes: Axes, axis: str, lines: list[GrowthLine], styles: dict[str, tuple[str, str]]) -> None:
    for line in lines:
        color, marker = styles.get(line["title"], SERIES[-1])
        known = np.array(line["medians"]) > 0  # the difference of two times may be negative because of noise
        values, medians = np.array(line["values"], float)[known], np.array(line["medians"])[known]
        label = f"{shorten(_name(line['title']), 16)}, {format_exponent(line['exponent'])}"
        axes.loglog(values, medians, linestyle="none", marker=marker, markersize=5, color=color, label=verbatim(label))
        if line["exponent"] is not None:
            middle = np.exp(np.log(medians).mean() - line["exponent"] * np.log(values).mean())
            axes.loglog(values, middle * values ** line["exponent"], color=color, linewidth=1.2)
    ticks = sorted({value for line in lines for value in line["values"]})
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks], fontsize=7.5)
    axes.xaxis.set_minor_locator(NullLocator())
    _y_range(axes, [seconds for line in lines for seconds in line["medians"]])
    axes.set_title(verbatim(axis))
    axes.legend(loc="upper left", fontsize=7.5, handlelength=1.0, borderaxespad=0.2)


def _y_range(axes: Axes, seconds: list[float]) -> None:
    """Give the y axis whole powers of ten around the data, with room for the legend."""
    shown = [value for value in seconds if value > 0] or [1.0]
    low, high = math.log10(min(shown)), math.log10(max(shown))
    axes.set_ylim(10 ** (low - 0.15), 10 ** (high + 0.3 + 0.35 * (high - low)))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", labelsize=7.5)


def _line_as_text(line: GrowthLine) -> str:
    points = ", ".join(f"{format_seconds(median)} at {value:,.0f}"
                       for value, median in zip(line["values"], line["medians"], strict=True))
    whole, end = (format_exponent(line[key]) for key in ("exponent", "exponent_end"))
    return f"{_name(line['title'])} against {line['axis']}: {whole}, between the largest sizes {end} ({points})."
