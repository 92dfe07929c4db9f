"""Trains with an audit after each epoch in every process of a group, and stores OUT/rank-R.npz; alone without torchrun.

Usage: torchrun --nproc-per-node 2 in_step_worker.py OUT
"""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from callbacks.conftest import PLACE, bright

import shiftscope
from shiftscope.callbacks import log_audit
from shiftscope.data.base import Dataset
from shiftscope.distributed import in_step

DATA = Dataset(name="bright", class_names=("dark", "gray", "bright"), train=bright(150, 0), test=bright(90, 1),
               source="made by the test", license="MIT", synthetic=True)


def main(out: Path) -> None:
    rank = int(os.environ.get("RANK", 0))
    with contextlib.ExitStack() as stack:
        if "RANK" in os.environ:
            dist.init_process_group("gloo")
            stack.callback(dist.destroy_process_group)
            stack.enter_context(in_step())
        torch.manual_seed(0)
        model, logged = nn.Sequential(nn.Flatten(), nn.Linear(81, 3)), []
        shiftscope.train(
            model, DATA, placement=PLACE, settings=shiftscope.TrainSettings(epochs=2, batch_size=30),
            on_epoch=lambda record: log_audit(
                model, DATA, split="validation", placement=PLACE, epoch=record["epoch"],
                to=lambda metrics, epoch: logged.append([epoch, *(metrics[name] for name in sorted(metrics)[:2])])))
        own = log_audit(model, DATA, split="test", placement=PLACE)  # as in a loop of one's own
    weights = torch.cat([value.flatten() for value in model.state_dict().values()])
    np.savez(out / f"rank-{rank}.npz", weights=weights.numpy(), logged=np.array(logged), audited=own is not None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
