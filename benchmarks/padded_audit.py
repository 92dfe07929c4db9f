"""Audits of networks with padding: the dense engine against brute force, image by image at all placements.

Usage: python benchmarks/padded_audit.py [--nets a b c d e r] [--images 200] [--sample 4] [--repeats 5] [--threads 2]
       python benchmarks/padded_audit.py --labels 1000 [--nets a b c d e] [--train 10000] [--minutes 9]

The networks are those of `padded_nets.py`: a to e with images of 28 x 28 on a canvas of 56 x 56 (841 placements), r is
ResNet-18 with windows of 224 x 224 in random images of 232 x 232 (81 placements). Both engines run in turns in one
process; each turn of brute force computes `--sample` images, each turn of the dense engine `--images`, or fewer if they
take more than `--turn` seconds (80): a network then takes less than ten minutes on two cores. The clock is wall time,
or, with --cpu, processor time, which other work on the machine changes little.

With --labels, each network is trained for one epoch, and the labels of both engines are compared for real images. Only
placements whose margin is below the tolerance of the self-check may differ; they are counted. Weights and counts are
stored in the folder `--work`; a run stops after `--minutes`, and the same command continues. Brute force takes 35 to 50
minutes for 1000 images of the networks c and e, less than ten for the others.

Records are written to benchmarks/results/padded-audit.json, one for each network and kind.
"""

import argparse
import json
import statistics
import tempfile
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
    begun = clock()
    dense.logits(images[:dense.images_per_call])
    affordable = asked.turn * min(dense.images_per_call, len(images)) / (clock() - begun)
    counts["dense"] = max(1, min(asked.images, int(affordable)))
    seconds = in_turns({engine.name: lambda _, engine=engine: run(engine) for engine in (dense, brute)},
                       asked.repeats, name, SilentProgress())
    medians = {engine: statistics.median(values) for engine, values in seconds.items()}
    outputs = [engine.logits(images[:1]) for engine in (dense, brute)]
    return {"kind": "speed", "net": name, "placements": placement.count, "mode": placement.mode, "images": counts,
            "clock": "processor" if asked.cpu else "wall", "seconds_an_image": seconds, "median": medians,
            "ratio": medians["brute"] / medians["dense"], "build_seconds": build_seconds,
            "cut": dense.cut.sentence if dense.cut else "all operations are shared",
            "largest_difference": float((outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max())}


def labels(net: str, asked: argparse.Namespace) -> dict[str, Any] | None:
    """Train one network for an epoch and compare the labels of both engines; None if the time ended before."""
    stop = time.monotonic() + 60 * asked.minutes
    data = shiftscope.load_dataset("fashion-mnist", data_dir=asked.data_dir)
    name, model, known = trained(net, data.limit(asked.train), asked)
    dense = build_dense(model, CANVAS, data.shape, shared=known.get("shared"))
    known["shared"] = dense.cut.shared - 1 if dense.cut else None  # found by a trial
    brute, count = BruteForceEngine(model, CANVAS, data.shape), min(asked.labels, len(data.test))
    while known["images"] < count and time.monotonic() < stop:
        image = data.test.gather(torch.tensor([known["images"]]))
        compare(dense.logits(image)[0], brute.logits(image)[0], known)
        files.write_json(asked.work / f"{net}.json", known)
    print(f"{name}: {known['images']} of {count} images", flush=True)
    if known["images"] < count:
        return None
    return {"kind": "labels", "net": name, **known,
            "cut": dense.cut.sentence if dense.cut else "all operations are shared"}


def trained(net: str, data: shiftscope.Dataset, asked: argparse.Namespace) -> tuple[str, nn.Module, dict[str, Any]]:
    """Return the name and the network after an epoch, and the counts of the images that are done."""
    (name, model), weights, counts = built(net), asked.work / f"{net}.pt", asked.work / f"{net}.json"
    if weights.is_file() and counts.is_file():
        model.load_state_dict(torch.load(weights, weights_only=True))
        return name, model.eval(), json.loads(counts.read_text(encoding="utf-8"))
    found = shiftscope.train(model, data, placement=CANVAS, settings=SETTINGS, name=name)
    asked.work.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), weights)
    known = {"images": 0, "labels": 0, "differ": 0, "differ_beyond_tolerance": 0, "near_ties": 0,
             "largest_difference": 0.0, "largest_tolerance": 0.0, "train_images": found.train_images,
             "train_accuracy": found.history[-1]["train_accuracy"]}
    files.write_json(counts, known)
    return name, model.eval(), known


def compare(ours: torch.Tensor, theirs: torch.Tensor, known: dict[str, Any]) -> None:
    """Add the labels of one image, (P, K) outputs of both engines, to the counts."""
    allowed = rounding_tolerance(theirs, torch.float32)
    best = theirs.topk(2).values
    near, differ = best[:, 0] - best[:, 1] <= allowed, ours.argmax(1) != theirs.argmax(1)
    for key, value in (("largest_difference", (ours - theirs).abs().max()), ("largest_tolerance", allowed)):
        known[key] = max(known[key], float(value))
    for key, count in (("images", 1), ("labels", len(differ)), ("differ", differ.sum()), ("near_ties", near.sum()),
                       ("differ_beyond_tolerance", (differ & ~near).sum())):
        known[key] += int(count)


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
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--turn", type=float, default=80.0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "shiftscope-padded-labels")
    parser.add_argument("--data-dir", default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for net in asked.nets:
        record = (speed if asked.labels is None else labels)(net, asked)
        if record is None:
            continue
        keep(record)
        print({key: value for key, value in record.items() if key != "seconds_an_image"}, flush=True)


if __name__ == "__main__":
    main()
