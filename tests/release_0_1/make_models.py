"""Writes tiny.npz, checkpoints and their outputs with release 0.1. It does not run with later releases."""

import numpy as np
import torch
from torch import nn

import shiftscope
from shiftscope.models.adapt import adapt
from shiftscope.models.checkpoint import Provenance
from shiftscope.models.convnet import TwoConvTwoFullNet
from shiftscope.models.invariant import InvariantNet
from shiftscope.models.mending import mend
from shiftscope.models.perceptron import TwoFullNet
from shiftscope.models.recentred import RecentredNet

random = np.random.default_rng(0)
np.savez_compressed("tiny.npz", train_images=random.integers(0, 256, (40, 6, 6), np.uint8),
                    train_labels=np.arange(40) % 3, test_images=random.integers(0, 256, (8, 6, 6), np.uint8),
                    test_labels=np.arange(8) % 3, class_names=np.array(["a", "b", "c"]))
torch.manual_seed(0)
outputs = {}


def store(name, model, pixels, **options):
    """Save a model with its outputs."""
    model.eval()
    shiftscope.save(model, name, **options)
    outputs[f"pixels-{name}"], outputs[name] = pixels.numpy(), model(pixels).detach().numpy()


small = torch.rand(3, 1, 12, 12)
store("recentred", RecentredNet(canvas=(12, 12), widths=(4, 4), classes=3), small,
      provenance=Provenance(name="recentred", trained="moved"))
store("invariant", InvariantNet(canvas=(12, 12), widths=(4, 4), classes=3), small,
      provenance=Provenance(name="invariant", trained="centred"))
perceptron = TwoFullNet(N=5, canvas=(12, 12), classes=3).eval()
for method in ("recentre", "placement-average"):
    store(f"perceptron-{method}", mend(perceptron, (1, 12, 12), how=method, image=(6, 6)), small)
store("own", adapt(nn.Sequential(nn.Flatten(), nn.Linear(144, 3)), normalize=(0.3, 0.2)), small)
convnet = TwoConvTwoFullNet(canvas=(20, 20), classes=3).eval()
for method in ("blur", "polyphase", "phase-average"):
    store(f"convnet-{method}", mend(convnet, (1, 20, 20), how=method), torch.rand(3, 1, 20, 20))
np.savez("outputs.npz", **outputs)
