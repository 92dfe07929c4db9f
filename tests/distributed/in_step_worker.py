"""What every process of a group computes, and stores as OUT/rank-R.npz; alone, the same without a group.

Usage: torchrun --nproc-per-node 2 in_step_worker.py OUT
"""

import contextlib
import itertools
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import IterableDataset

import shiftscope
from shiftscope import Placement, TrainSettings
from shiftscope.data import from_iterable
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.distributed import from_first, gathered, group, in_step, total
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.layers import Recenter
from shiftscope.settings import SynthesisSettings

CLASSES = ("black", "dark", "light", "white")
PLACEMENT = Placement(image=(8, 8), canvas=(14, 13))
ARRAYS = ("predictions", "margins", "worst_offset", "shown_index", "shown_logits", "correct_counts")


def shades(count: int, seed: int) -> TensorImages:
    """Noisy images of 8 x 8 whose class is their brightness."""
    labels = torch.arange(count) % 4
    noise = torch.randint(0, 60, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    return TensorImages((noise + 60 * labels[:, None, None, None]).to(torch.uint8), labels)


DATA = Dataset(name="shades", class_names=CLASSES, train=shades(260, 0), test=shades(300, 1), source="made by the test",
               license="MIT", synthetic=True)


class Stream(IterableDataset):
    classes = CLASSES

    def __iter__(self):
        return zip(DATA.train.images, DATA.train.labels.tolist(), strict=True)


class Net(nn.Sequential):
    """A small convnet with a part that nothing uses, as models of others have."""

    def __init__(self):
        torch.manual_seed(7)
        super().__init__(nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 6 * 6, 4))
        self.unused = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in list(self)[:4]:
            x = layer(x)
        return x


def net() -> nn.Module:
    return Net()


def trained(data: Dataset, out: Path, **changed) -> dict[str, np.ndarray]:
    """Return weights, losses and accuracies of a training, which `out` keeps the state of."""
    model = net()
    result = shiftscope.train(model, data, placement=PLACEMENT, folder=out, resume=True, name="net",
                              settings=TrainSettings(**{"epochs": 3, "batch_size": 69, "seed": 3} | changed))
    weights = torch.cat([value.flatten() for value in model.state_dict().values()])
    history = [(e["train_loss"], e["train_accuracy"], e["val_accuracy"]) for e in result.history]
    return {"weights": weights.numpy(), "history": np.array(history)}


def audited(model: nn.Module, **options) -> dict[str, np.ndarray]:
    found = shiftscope.audit(model, DATA, placement=PLACEMENT, **options)
    counts = np.array([found.images, found.ties, found.nonfinite, found.self_check["placements"]])
    return {name: getattr(found, name) for name in ARRAYS} | {"counts": counts, "engine": np.array(found.engine)}


def stopped_in_one() -> dict[str, np.ndarray]:
    """An audit that only the last process is asked to stop, when it is asked for the third time."""
    asked = itertools.count()
    here = group()
    found = shiftscope.audit(net(), DATA, placement=PLACEMENT, engine="brute", memory=300_000,
                             stop=lambda: here.rank == here.size - 1 and next(asked) >= 2)
    return {"predictions": found.predictions, "images": np.array([found.images, found.partial])}


def paused() -> int:
    """Epochs of a training whose time is up in the last process alone, after its first step."""
    last = group().rank == group().size - 1
    settings = TrainSettings(epochs=3, batch_size=69, max_time=1e-6 if last else 1e6)
    return shiftscope.train(net(), DATA, placement=PLACEMENT, settings=settings).epochs


def refused() -> str:
    """What all are told when the first process raises an error."""

    def refuse() -> None:
        raise UsageError(f"refused by process {group().rank}")

    try:
        from_first(refuse)
    except ShiftscopeError as error:
        return str(error)
    return "not refused"


def everything(out: Path) -> dict[str, np.ndarray]:
    """Return all that is compared, by name."""
    stream = from_iterable(Stream(), DATA.test, validation=DATA.test)
    plain = net()
    recentered = nn.Sequential(Recenter((8, 8)), net_of_image())
    synthesis = shiftscope.visualize(net(), "0:all", shape=(1, 14, 13),
                                     settings=SynthesisSettings(steps=6, memory=40_000))
    evaluation = shiftscope.evaluate(plain, DATA, placement=PLACEMENT)
    parts = {
        "train": trained(DATA, out / "indexed"), "stream": trained(stream, out / "streamed", epochs=1),
        "brute": audited(plain, engine="brute", memory=300_000), "dense": audited(plain, engine="dense"),
        "orbit": audited(recentered), "stopped": stopped_in_one(),
        "evaluation": {"classes": evaluation.predictions, "confidence": evaluation.confidence},
        "synthesis": {"images": synthesis.images, "activations": synthesis.activations},
        "basics": {"paused": np.array(paused()), "refused": np.array(refused()),
                   "total": total(torch.tensor([1, 10])).numpy(), "gathered": np.array(gathered(f"r{group().rank}"))}}
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def net_of_image() -> nn.Module:
    torch.manual_seed(8)
    return nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, 4))


def main(out: Path) -> None:
    with contextlib.ExitStack() as stack:
        dist.init_process_group("gloo")
        stack.callback(dist.destroy_process_group)
        stack.enter_context(in_step())
        np.savez(out / f"rank-{group().rank}.npz", **everything(out))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
