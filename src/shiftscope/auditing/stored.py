"""What an audit stores of its finished images, and the identity of an audit that is continued."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.engines import AuditInputs
from shiftscope.auditing.predictions import PlacementPredictions, ShownImages
from shiftscope.auditing.self_check import SampleCheck
from shiftscope.data.base import UNLABELED, ImageSet
from shiftscope.distributed import group
from shiftscope.models import OnnxModel
from shiftscope.models.forward import device_and_dtype

BATCH = 256
"""Images that are hashed at a time."""

ROWS = ("classes", "margins", "top_margins", "confidences", "top5", "worst", "ties", "exact_ties")
"""Arrays of `PlacementPredictions`."""


def block_arrays(predictions: PlacementPredictions, shown: ShownImages, check: SampleCheck, begin: int,
                 end: int) -> dict[str, np.ndarray]:
    """Return all results of the images from `begin` to `end` by name: one row per image, or per shown or checked one.

    Class scores are those that a report may still show.
    """
    inside = (shown.index >= begin) & (shown.index < end)
    rows = sorted(row for row in check.outputs if begin <= int(check.sample.images[row]) < end)
    outputs = [_storable(check.outputs[row]).numpy() for row in rows]
    return {name: getattr(predictions, name)[begin:end] for name in ROWS} | {
        "shown_index": shown.index[inside], "shown_consistency": shown.consistency[inside],
        "shown_logits": shown.logits[inside], "check_rows": np.array(rows, np.int64),
        "check_outputs": np.stack(outputs) if outputs else np.zeros((0, 0, 0), np.float32)}


def _storable(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.detach().cpu() if outputs.dtype != torch.bfloat16 else outputs.detach().cpu().float()


def restore(arrays: Mapping[str, np.ndarray], begin: int, predictions: PlacementPredictions, shown: ShownImages,
            check: SampleCheck) -> int:
    """Add the stored results of the images from `begin` on; return the index after the last one."""
    end = begin + len(arrays["classes"])
    for name in ROWS:
        getattr(predictions, name)[begin:end] = arrays[name]
    shown.include(arrays["shown_index"], arrays["shown_consistency"], arrays["shown_logits"])
    device, _ = device_and_dtype(check.model)
    for row, outputs in zip(arrays["check_rows"].tolist(), arrays["check_outputs"], strict=True):
        check.outputs[row] = torch.from_numpy(outputs).to(device)
    return end


def joined(parts: list[dict[str, np.ndarray]], owner: np.ndarray) -> dict[str, np.ndarray]:
    """Return the results of a group's processes together: `owner` (n,) is the rank that computed each image."""
    whole = {name: values.copy() for name, values in parts[0].items()}
    for rank, part in enumerate(parts[1:], 1):
        for name in ROWS:
            whole[name][owner == rank] = part[name][owner == rank]
    for name in ("shown_index", "shown_consistency", "shown_logits", "check_rows", "check_outputs"):
        filled = [part[name] for part in parts if len(part[name])]
        whole[name] = np.concatenate(filled) if filled else whole[name]
    return whole


def model_hash(model: nn.Module) -> str:
    """Return the SHA-256 of a model's layers, parameters and buffers; of an ONNX file, of its content.

    >>> a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> model_hash(a) == model_hash(a), model_hash(a) == model_hash(b)
    (True, False)
    """
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        digest.update(f"{name}:{type(module).__qualname__}:{module.extra_repr()}\n".encode())
        if isinstance(module, OnnxModel):
            digest.update(module.path.read_bytes())
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def images_hash(images: ImageSet) -> str:
    """Return the SHA-256 of the pixels and labels of images, in their order."""
    digest = hashlib.sha256(f"{len(images)} {images.shape}".encode())
    digest.update(images.labels.contiguous().numpy().data)
    for indices in torch.arange(len(images)).split(BATCH):
        digest.update(images.gather(indices).cpu().contiguous().numpy().data)
    return digest.hexdigest()


def class_outputs(images: ImageSet, names: Sequence[str]) -> dict[str, int]:
    """Return the output index of each class that occurs, by its name; empty without labels.

    >>> from shiftscope.data.base import TensorImages
    >>> class_outputs(TensorImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([2, 0])), "abc")
    {'a': 0, 'c': 2}
    """
    labels: list[int] = images.labels.unique().tolist()
    return {names[label]: label for label in labels if label != UNLABELED}


def settings_of(inputs: AuditInputs, **more: Any) -> dict[str, Any]:
    """Return all that results depend on besides the model and the images, as plain JSON."""
    device, dtype = device_and_dtype(inputs.model)
    background = inputs.placement.background
    return {"placement": inputs.placement.to_dict(), "sample": len(inputs.offsets), "seed": inputs.seed,
            "memory": inputs.memory, "device": device.type, "number type": str(dtype), "processes": group().size,
            "background": hashlib.sha256(background.cpu().numpy().tobytes()).hexdigest()
            if isinstance(background, torch.Tensor) else background, **more}


def engine_array(settings: Mapping[str, Any]) -> np.ndarray:
    """Return settings of an engine as an array of text."""
    return np.array(json.dumps(dict(settings)))


def engine_settings(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the settings of the engine that computed a stored block."""
    return json.loads(str(arrays["engine"]))
