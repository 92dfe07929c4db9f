"""Audits of networks with padding: the dense engine against brute force, image by image at all placements.

Usage: python benchmarks/padded_audit.py [--nets a b c d e r] [--images 200] [--sample 4] [--repeats 5] [--threads 2]
       python benchmarks/padded_audit.py --labels 1000 [--nets a b c d e]

The networks are those of `padded_nets.py`: a to e with images of 28 x 28 on a canvas of 56 x 56 (841 placements), r is
ResNet-18 with windows of 224 x 224 in random images of 232 x 232 (81 placements). Both engines run in turns in one
process; each turn of brute force computes `--sample` images, each turn of the dense engine `--images`. The clock is
wall time, or, with --cpu, processor time, which other work on the machine changes little.

With --labels, each network is trained for one epoch, and the labels of both engines are compared for real images. Only
placements whose margin is below the tolerance of the self-check may differ; they are counted.

Records are written to benchmarks/results/padded-audit.json, one for each network and kind.
"""

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

import shiftscope
from bench.machine import describe_machine
from bench.rounds import in_turns
from padded_nets import NETS, resnet18
from shiftscope import files
from shiftscope.dense import DenseEngine, build_dense
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.metrics import rounding_tolerance
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.settings import TrainSettings

RESULTS = Path(__file__).parent / "results" / "padded-audit.json"
CANVAS = Placement(image=(28, 28), canvas=(56, 56))
CROP = Placement(image=(232, 232), canvas=(224, 224), mode="crop")
SETTINGS = TrainSettings(epochs=1, validation=0, micro_batch=0)


def placement_of(net: str) -> tuple[Placement, int]:
    """Return the placement of a network, and its number of channels."""
    return (CROP, 3) if net == "r" else (CANVAS, 1)


def built(net: str) -> tuple[str, nn.Module]:
    """Return the name and the network, with statistics of batch norm as after training."""
    name, build = ("r: ResNet-18, crop", resnet18) if net == "r" else next(
        item for item in NETS.items() if item[0].startswith(net))
    torch.manual_seed(0)
    model = build().eval()
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean, 0, 0.3)  # pyright: ignore[reportArgumentType]
        nn.init.uniform_(norm.running_var, 0.5, 2)  # pyright: ignore[reportArgumentType]
        nn.init.normal_(norm.bias, 0, 0.3)
    return name, model


def speed(net: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one network with both engines, in turns."""
    (name, model), (placement, channels) = built(net), placement_of(net)
    clock = time.process_time if asked.cpu else time.perf_counter
    begun = clock()
    dense = build_dense(model, placement, (channels, *placement.image))
    build_seconds = clock() - begun
    brute = BruteForceEngine(model, placement, (channels, *placement.image))
    counts = {"dense": asked.images, "brute": asked.sample}
    images = torch.randint(0, 256, (max(counts.values()), channels, *placement.image), dtype=torch.uint8)

    def run(engine: DenseEngine | BruteForceEngine) -> float:
        count, start = counts[engine.name], clock()
        for part in images[:count].split(engine.images_per_call):
            engine.logits(part)
        return (clock() - start) / count

    for engine in (dense, brute):
        engine.logits(images[:1])
    seconds = in_turns({engine.name: lambda _, engine=engine: run(engine) for engine in (dense, brute)},
                       asked.repeats, name, SilentProgress())
    medians = {engine: statistics.median(values) for engine, values in seconds.items()}
    outputs = [engine.logits(images[:1]) for engine in (dense, brute)]
    return {"kind": "speed", "net": name, "placements": placement.count, "mode": placement.mode, "images": counts,
            "clock": "processor" if asked.cpu else "wall", "seconds_an_image": seconds, "median": medians,
            "ratio": medians["brute"] / medians["dense"], "build_seconds": build_seconds,
            "cut": dense.cut.sentence if dense.cut else "all operations are shared",
            "largest_difference": float((outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max())}


def labels(net: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Train one network for an epoch and compare the labels of both engines."""
    name, model = built(net)
    data = shiftscope.load_dataset("fashion-mnist", data_dir=asked.data_dir)
    trained = shiftscope.train(model, data.limit(asked.train), placement=CANVAS, settings=SETTINGS, name=name)
    model.eval()
    dense, brute = build_dense(model, CANVAS, data.shape), BruteForceEngine(model, CANVAS, data.shape)
    counts, largest, tolerance = {"labels": 0, "differ": 0, "differ_beyond_tolerance": 0, "near_ties": 0}, 0.0, 0.0
    for index in range(min(asked.labels, len(data.test))):
        image = data.test.gather(torch.tensor([index]))
        ours, theirs = dense.logits(image)[0], brute.logits(image)[0]
        allowed = rounding_tolerance(theirs, torch.float32)
        best = theirs.topk(2).values
        near, differ = best[:, 0] - best[:, 1] <= allowed, ours.argmax(1) != theirs.argmax(1)
        largest, tolerance = max(largest, float((ours - theirs).abs().max())), max(tolerance, float(allowed))
        for key, count in (("labels", len(differ)), ("differ", differ.sum()), ("near_ties", near.sum()),
                           ("differ_beyond_tolerance", (differ & ~near).sum())):
            counts[key] += int(count)
    return {"kind": "labels", "net": name, "images": min(asked.labels, len(data.test)), **counts,
            "largest_difference": largest, "largest_tolerance": tolerance,
            "train_images": trained.train_images, "train_accuracy": trained.history[-1]["train_accuracy"],
            "cut": dense.cut.sentence if dense.cut else "all operations are shared"}


def keep(record: dict[str, Any]) -> None:
    """Add a record to the file, in the place of an older one of the same network and kind."""
    old = json.loads(RESULTS.read_text(encoding="utf-8"))["records"] if RESULTS.is_file() else []
    kept = [one for one in old if (one["kind"], one["net"]) != (record["kind"], record["net"])]
    new = record | {"measured": datetime.now(UTC).isoformat(timespec="seconds"),
                    "machine": describe_machine(torch.device("cpu"))}
    files.write_json(RESULTS, {"schema_version": 2, "records": sorted([*kept, new],
                                                                      key=lambda one: (one["kind"], one["net"]))})


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["a", "b", "c", "d", "e", "r"])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sample", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--labels", type=int)
    parser.add_argument("--train", type=int, default=60_000)
    parser.add_argument("--data-dir", default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for net in asked.nets:
        record = (speed if asked.labels is None else labels)(net, asked)
        keep(record)
        print({key: value for key, value in record.items() if key != "seconds_an_image"}, flush=True)


if __name__ == "__main__":
    main()
