"""Growth of the time of audits and syntheses with the number of images; the exponent should be 1.

Usage: python benchmarks/growth_with_images.py [--data fashion-mnist] [--repeats 5]

This is the part of `run_bench.py audit --growth` and `run_bench.py visualize --growth` that varies the number of
images; it takes a few minutes instead of half an hour. Audits use training images because there are more of them, so
that the half second of trials at the start matters less. Writes benchmarks/results/growth-images.json.
"""

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

import shiftscope
from bench.audit import beyond_fixed
from bench.machine import describe_machine
from bench.record import GrowthLine
from bench.rounds import doublings, grow
from bench.setup import Setup
from bench.synthesis import batch
from shiftscope import files
from shiftscope.placement import Placement
from shiftscope.progress import default_progress
from shiftscope.settings import SynthesisSettings
from shiftscope.training.plan import keep_memory

RESULTS = Path(__file__).parent / "results" / "growth-images.json"
MODELS, NEURONS, AUDITED = ("two-full", "two-conv"), 100, 40_000
COPIES = {"two-full": (4, 8, 16, 32), "two-conv": (1, 2, 4, 8)}
"""Images per neuron; one image for each of the perceptron's 100 neurons takes 0.1 s, mostly fixed costs."""


def audits(name: str, setup: Setup) -> GrowthLine:
    """Return the seconds of audits of increasing numbers of images, without the fixed costs of an audit."""
    model, data = setup.build(name), setup.data
    more = replace(setup, data=replace(data, test=data.train))
    runs = {count: partial(beyond_fixed, model, more, count) for count in doublings(min(AUDITED, len(data.train)))}
    return grow(name, "images", "seconds of an audit, less its fixed part", runs, setup.repeats, setup.progress)


def syntheses(name: str, setup: Setup) -> GrowthLine:
    """Return the seconds of the synthesis of more and more images of the hundred hidden neurons."""
    model, how = setup.build(name), SynthesisSettings(patience=0)
    runs = {NEURONS * copies: partial(batch, model, "fc1:all", how, setup, copies) for copies in COPIES[name]}
    return grow(name, "images", "seconds of a synthesis", runs, setup.repeats, setup.progress)


PARTS = {"audit": audits, "synthesis": syntheses}


def main() -> None:
    """Measure both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="the others stay as recorded")
    asked = parser.parse_args()
    keep_memory()
    data = shiftscope.load_dataset(asked.data)
    place = Placement(image=data.shape[1:], canvas=(2 * data.shape[1], 2 * data.shape[2]))
    setup = Setup(data=data, placement=place, device=torch.device("cpu"), repeats=asked.repeats,
                  progress=default_progress())
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    record: dict[str, object] = {part: kept[part] for part in PARTS if part in kept}
    record |= {"schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
               "machine": describe_machine(setup.device)}
    for what in asked.parts:
        lines = [PARTS[what](name, setup) for name in MODELS]
        record[what] = lines
        files.write_json(RESULTS, record)
        for line in lines:
            print(what, line["title"], line["values"], [round(value, 3) for value in line["medians"]], "exponent",
                  line["exponent"], "at the end", line["exponent_end"], flush=True)


if __name__ == "__main__":
    main()
