"""Write the table of the convnet on MNIST and Fashion-MNIST, trained centered and on random placements of 56 x 56.

Usage: shiftscope run --models two-conv --controls --data mnist --out RUN1          (and fashion-mnist, RUN2)
       python benchmarks/two_datasets.py RUN1 RUN2 [--page docs/results.md]

One row per dataset and kind of training; mean and standard deviation over the seeds of the run. The audits cover all
placements of the test images. Without --page the table is printed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from page_markers import replace_between_markers
from shiftscope import files
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.reporting.formatting import percent
from shiftscope.results import Audit
from shiftscope.runs.records import find_records

FIGURES = {"mean": "mean_accuracy", "worst case": "worst_case_accuracy", "consistency": "consistency",
           "unanimity": "unanimity", "centered": "middle_accuracy"}
TRAINED = {"random": "random positions", "centered": "centered images"}


def cell(values: Sequence[float]) -> str:
    """Return mean and standard deviation in percent, the latter only of several seeds.

    >>> cell([0.5]), cell([0.5, 0.7])
    ('50.0 %', '60.0 % ± 14.1')
    """
    mean, spread = mean_and_spread(values)
    return percent(mean) if spread is None else f"{percent(mean)} ± {100 * spread:.1f}"


def table(audits: Sequence[Audit]) -> str:
    """Return the Markdown table of audits: one row per dataset, model and kind of training."""
    rows: dict[tuple[str, str, str], list[Audit]] = {}
    for audit in audits:
        rows.setdefault((audit.dataset, audit.model, TRAINED.get(audit.trained, audit.trained)), []).append(audit)
    lines = [f"| dataset | model | trained on | {' | '.join(FIGURES)} |", f"|---|---|---|{'---|' * len(FIGURES)}"]
    for names, found in rows.items():
        cells = [cell([getattr(audit, key) for audit in found]) for key in FIGURES.values()]
        lines.append(f"| {' | '.join((*names, *cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Write or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    found = table([stored.record for run in options.runs for stored in find_records(run)
                   if isinstance(stored.record, Audit)])
    if options.page is None:
        print(found)
        return
    page = options.page.read_text(encoding="utf-8")
    files.write_text(options.page, replace_between_markers(page, "datasets", found, str(options.page)))


if __name__ == "__main__":
    main()
