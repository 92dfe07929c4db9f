"""Training loops of other libraries, if installed; each runs in a separate process."""

import os
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from bench.notebook_way import PlacedImages, notebook_model
from bench.worker import synchronize
from shiftscope.models.course import FILTERS, GROUPS, HIDDEN, KERNEL, POOL


def installed_peers() -> tuple[dict[str, Callable[..., Any]], list[str]]:
    """Return the installed libraries by name, and a note for each library with its version, or that it is missing."""
    installed = {name: make for name, make in PEERS.items() if find_spec(name) is not None}
    return installed, [f"{name} is version {_version(name)}" if name in installed else
                   f"{name} is not compared: it is not installed" for name in PEERS]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a source folder
        return "unknown"


def lightning_training(name: str, images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], batch_size: int,
                       classes: int, device: str) -> Callable[[int], float]:
    """Lightning's Trainer over the notebook's DataLoader, AdamW."""
    import logging

    import lightning  # pyright: ignore[reportMissingImports]

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")  # about its own code
    net, normalize = notebook_model(name, canvas=canvas, channels=images.shape[1], classes=classes)
    placed = PlacedImages(images, labels, canvas, normalize=normalize)
    loader = DataLoader(placed, batch_size=batch_size, shuffle=True)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net
            self.seconds, self.start = 0.0, 0.0

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

        def on_train_start(self) -> None:
            self.start = time.perf_counter()

        def on_train_end(self) -> None:
            synchronize(torch.device(device))
            self.seconds = time.perf_counter() - self.start

    def run(steps: int) -> float:
        module = Module()
        trainer = lightning.Trainer(max_steps=steps, accelerator="gpu" if device.startswith("cuda") else device,
                                    devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                    enable_model_summary=False)
        trainer.fit(module, loader)
        return module.seconds

    return run


def keras_training(name: str, images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], batch_size: int,
                   classes: int, device: str) -> Callable[[int], float]:
    """Keras's fit, on PyTorch, over the notebook's DataLoader, AdamW.

    Keras chooses the device, a GPU if available. Only the course models are supported: Keras takes no torch module.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras  # pyright: ignore[reportMissingImports]

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_train_end(self, logs: Any = None) -> None:
            synchronize(torch.device(device))
            self.seconds = time.perf_counter() - self.start

    loader = DataLoader(PlacedImages(images, labels, canvas), batch_size=batch_size, shuffle=True)
    model = keras.Sequential([keras.Input((images.shape[1], *canvas)), *_keras_layers(keras, name, classes)])
    model.compile(optimizer=keras.optimizers.AdamW(1e-3), jit_compile=False,
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def run(steps: int) -> float:
        clock = Clock()
        model.fit(loader, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock])
        return clock.seconds

    return run


def _keras_layers(keras: Any, name: str, classes: int) -> list[Any]:
    """Return the layers of a course model, images with their channels first."""
    layers, first = keras.layers, {"data_format": "channels_first"}
    if name == "two-full":
        return [layers.Flatten(), layers.Dense(HIDDEN, activation="relu"), layers.Dense(classes)]
    return [layers.Conv2D(FILTERS, KERNEL, activation="relu", **first), layers.MaxPooling2D(POOL, **first),
            layers.Conv2D(FILTERS, KERNEL, groups=GROUPS, **first), layers.SpatialDropout2D(0.2, **first),
            layers.ReLU(), layers.MaxPooling2D(POOL, **first), layers.Flatten(),
            layers.Dense(HIDDEN, activation="relu"), layers.Dropout(0.2), layers.Dense(classes)]


PEERS = {"lightning": lightning_training, "keras": keras_training}
"""Training loops by package name."""
