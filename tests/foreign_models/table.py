"""Print the table of foreign models and verdicts, as Markdown: python -m tests.foreign_models.table [PATTERN]

Columns: predictions that were compared (all modes, automatic choice and brute force), those that differ where the
reference's margin exceeds the model's tolerance, those that differ within it, exact ties, and what the dense engine
does.
"""

import re
import sys

import numpy as np

from shiftscope.errors import ShiftscopeError

from . import checks
from .models import REGISTRY

HEAD = "| model | predictions | differ | differ in near ties | exact ties | automatic choice | dense engine |"


def row(model):
    """Return the cells of one model."""
    built, engines, dense, sums = model.build(), set(), {}, np.zeros(4, np.int64)
    for mode in checks.MODES:
        for engine in ("auto", "brute"):
            found, counts = compared(model, built, mode, engine)
            sums += counts
            if engine == "auto":
                engines.add(found.engine)
        dense[mode] = verdict(model, built, mode)
    same = len(set(dense.values())) == 1
    words = dense["canvas"] if same else "; ".join(f"{mode}: {words}" for mode, words in dense.items())
    return [model.name, *map(str, sums), ", ".join(sorted(engines)), words]


def compared(model, built, mode, engine):
    """Return an audit, and counts: predictions, differing ones beyond rounding and within it, exact ties."""
    recorded = built if model.kind == "plain" else checks.Recorder(built)
    found, labels = checks.audited(model, recorded, mode, engine)
    wanted = checks.expected(model, mode)
    if model.kind != "plain":
        every = checks.placed_images(model, mode)
        wanted = checks.on_the_same_batches(model, recorded, every.reshape(-1, *every.shape[2:]))
        wanted = checks.Expected(wanted.outputs.reshape(*labels.shape, -1))
    differ, near = labels != wanted.labels, checks.undecided(model, wanted)
    return found, [labels.size, (differ & ~near).sum(), (differ & near).sum(), wanted.exact_ties]


def verdict(model, built, mode):
    """Return "yes", or why the dense engine refuses a model."""
    try:
        checks.audited(model, built, mode, "dense")
    except ShiftscopeError as refusal:
        why = re.sub(r"^engine 'dense' is not possible: |; use engine.*$", "", str(refusal))
        return why[:120].replace("|", "/")
    return "yes"


def main():
    """Print one row per model."""
    pattern = re.compile(sys.argv[1] if len(sys.argv) > 1 else ".")
    print(HEAD, "|---" * 7 + "|", sep="\n")
    for model in REGISTRY.values():
        if pattern.search(model.name):
            try:
                cells = row(model)
            except Exception as error:  # the table shows failures
                cells = [model.name, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}", *[""] * 5]
            print("|", " | ".join(cells), "|", flush=True)
            for kept in (checks.subject, checks.placed_images, checks.expected):
                kept.cache_clear()


if __name__ == "__main__":
    main()
