"""Models of torchvision, timm and transformers by name, with their preprocessing and their class names."""

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
import torch
from torch import nn

from shiftscope.errors import CheckpointError, UsageError, did_you_mean, reason_of, some_of
from shiftscope.generators import seeded
from shiftscope.graph.export import silenced
from shiftscope.models.adapt import Adapted
from shiftscope.resolve import HUBS
from shiftscope.settings import Interpolation
from shiftscope.source_info import SourceInfo, unique_names

RANDOM = "none"
"""In place of weights: random ones."""

EXTRAS = {"torchvision": "vision", "timm": "vision", "hf": "hf"}
"""The extra of pyproject.toml that installs the package of a hub."""

PACKAGES = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers"}

_IMAGENET_CLASSES = 1000
_FILTERS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers of filters."""

_MAX_SIDE, _LARGE, _SQUASHED_FROM = 4096, (64, 64), 384
"""Limit of sizes from a file, in pixels; size of images on which processors are measured; see `_hf_resize`."""


def is_hub_name(source: str) -> bool:
    """Return True if a source names a model of torchvision, timm or transformers.

    >>> is_hub_name("timm:resnet18"), is_hub_name("two-conv"), is_hub_name("timm.models:resnet18")
    (True, False, False)
    """
    return source.partition(":")[0] in HUBS and ":" in source


def check_hub_name(source: str) -> None:
    """Raise the error of `load_from_hub` for an invalid name or a package that is not installed; downloads nothing."""
    hub, name, weights = split(source)
    if not name or (hub == "hf" and weights is not None) or (hub == "timm" and weights not in (None, RANDOM)):
        form = {"torchvision": "torchvision:NAME[@WEIGHTS]", "timm": "timm:NAME[@none]", "hf": "hf:NAME_OR_FOLDER"}[hub]
        raise UsageError(f"{source!r} must have the form {form}, as in {_EXAMPLES[hub]}")
    if hub != "hf" and not re.fullmatch(r"[\w.\-]+", name):
        raise UsageError(f"{source!r} must name a model of {hub} itself, not of another place such as hf-hub: or "
                         f"local-dir:, as in {_EXAMPLES[hub]}; for a model of the Hugging Face Hub use hf:NAME")
    _KNOWN[hub](_package(hub), source, name, weights)


_EXAMPLES = {"torchvision": "torchvision:resnet50@IMAGENET1K_V2", "timm": "timm:resnet50.a1_in1k",
             "hf": "hf:microsoft/resnet-50"}


def split(source: str) -> tuple[str, str, str | None]:
    """Return hub, name, and the weights after `@`.

    >>> split("torchvision:resnet18@none"), split("hf:microsoft/resnet-50")
    (('torchvision', 'resnet18', 'none'), ('hf', 'microsoft/resnet-50', None))
    """
    hub, _, rest = source.partition(":")
    name, at, weights = rest.rpartition("@") if hub != "hf" or "@" in Path(rest).name else ("", "", "")
    return (hub, name, weights) if at else (hub, rest, None)


def load_from_hub(source: str, *, device: torch.device | str = "cpu") -> tuple[nn.Module, SourceInfo]:
    """Load a model in eval mode, without its normalization, which the record holds. Weights are downloaded if needed.

    Args:
        source: torchvision:NAME[@WEIGHTS], timm:NAME[@none], or hf:NAME_OR_FOLDER. @none: random weights, which are
            always the same.

    Raises:
        UsageError: if the form is wrong, the name is unknown, or the package is not installed.
        CheckpointError: if the weights cannot be downloaded or read.
    """
    check_hub_name(source)
    hub, name, weights = split(source)
    online = hub != "torchvision" and weights != RANDOM
    with silenced(), seeded([], 0), _without_bars(hub), _without_retries(online):
        model, info = _LOADERS[hub](_package(hub), source, name, weights)
    return model.to(device).eval(), info


@contextmanager
def _without_bars(hub: str) -> Iterator[None]:
    """Turn off the progress bars of transformers, which do not fit into the display of a command."""
    if hub != "hf" or not (logging := _package(hub).utils.logging).is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


@contextmanager
def _without_retries(online: bool) -> Iterator[None]:
    """Use only what is on this machine if the host of the Hugging Face Hub is unknown: its package retries a minute."""
    constants: Any = None
    if online and not getproxies():
        from huggingface_hub import constants  # pyright: ignore[reportMissingImports]
    if constants is None or constants.HF_HUB_OFFLINE or _is_known(urlsplit(constants.ENDPOINT).hostname):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _is_known(host: str | None) -> bool:
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False


def _package(hub: str) -> Any:
    name = PACKAGES[hub]
    try:
        with silenced():
            return __import__(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{hub}:NAME needs {name}, which is not installed: install the extra, pip install "
                         f"'shiftscope[{EXTRAS[hub]}]'") from error
    except Exception as error:  # compiled parts for another build of torch
        raise UsageError(f"{hub}:NAME needs {name}, which cannot be imported ({reason_of(error, 100)}): install the "
                         "release that belongs to your torch") from error


@contextmanager
def _available(source: str, *, random: str | None) -> Iterator[None]:
    """Raise a `CheckpointError` if the weights or the description of a model cannot be downloaded or read."""
    try:
        yield
    except (UsageError, CheckpointError):
        raise
    except Exception as error:  # of several libraries for network, files and tensors
        alternative = f", or use {random} for random weights" if random else ""
        why = f"{type(error).__name__}: {reason_of(error, 120)}"
        raise CheckpointError(f"{source} cannot be loaded ({why}): check the name and the network"
                              f"{alternative}") from error


def _unknown(source: str, owner: str, name: str, known: Sequence[str], listing: str) -> UsageError:
    return UsageError(f"unknown model {source!r}: {owner} {name!r}; {did_you_mean(name, known)}{listing}")


# ---------------------------------------------------------------------- torchvision

def _check_torchvision(torchvision: Any, source: str, name: str, weights: str | None) -> None:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown(source, "torchvision has no classifier", name, known,
                       f"choose from {some_of(known, 4)}, see torchvision.models.list_models()")
    names = [one.name for one in torchvision.models.get_model_weights(name)]
    if weights not in (None, RANDOM, "DEFAULT", *names):
        raise _unknown(source, f"{name} has no weights", str(weights), names,
                       f"choose from {', '.join(names)} and {RANDOM}")


def _load_torchvision(torchvision: Any, source: str, name: str, weights: str | None) -> tuple[nn.Module, SourceInfo]:
    stored = torchvision.models.get_model_weights(name)
    entry = stored.DEFAULT if weights in (None, RANDOM) else stored[weights]
    with _available(source, random=f"{source.partition('@')[0]}@{RANDOM}"):
        model = torchvision.models.get_model(name, weights=None if weights == RANDOM else entry)
    prepare, names = entry.transforms(), entry.meta.get("categories")
    crop, resize = _pair(prepare.crop_size), prepare.resize_size
    return model, SourceInfo(
        channels=3, input_size=crop, resize=resize[0] if len(resize) == 1 else _pair(resize), crop=crop,
        interpolation=_filter(prepare.interpolation.value), antialias=prepare.antialias is not False,
        mean=tuple(prepare.mean), std=tuple(prepare.std), class_names=unique_names(names) if names else None,
        wordnet_ids=_imagenet_ids() if names and len(names) == _IMAGENET_CLASSES else None)


# ---------------------------------------------------------------------- timm

def _check_timm(timm: Any, source: str, name: str, weights: str | None) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise _unknown(source, "timm has no model", architecture, timm.list_models(),
                       "see timm.list_models(pretrained=True)")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}*")
            if one.partition(".")[0] == architecture]
    if (tag and tag not in tags) or (not tags and weights is None):
        choice = f"choose from {some_of(tags)}" if tags else f"it has none, use timm:{architecture}@{RANDOM}"
        raise _unknown(source, f"{architecture} has no weights", tag, tags, choice)


def _load_timm(timm: Any, source: str, name: str, weights: str | None) -> tuple[nn.Module, SourceInfo]:
    with _available(source, random=f"timm:{name}@{RANDOM}"):
        model = timm.create_model(name, pretrained=weights is None)
    values = timm.data.resolve_data_config({}, model=model, use_test_size=True)
    channels, *size = values["input_size"]
    sides = _pair([int(side / values["crop_pct"]) for side in size])
    resize = {"center": sides[0] if sides[0] == sides[1] else sides, "squash": sides}.get(values["crop_mode"])
    ids, names = _timm_classes(timm, model)
    return model, SourceInfo(
        channels=channels, input_size=_pair(size), resize=resize, crop=_pair(size),
        interpolation=_filter(values["interpolation"]), mean=tuple(values["mean"]), std=tuple(values["std"]),
        class_names=names, wordnet_ids=ids)


def _timm_classes(timm: Any, model: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return WordNet ids and names of the outputs, from the model or from the ImageNet subset of its pretraining."""
    given = model.pretrained_cfg.get("label_names")
    subset = timm.data.infer_imagenet_subset(model)
    if given:
        return None, unique_names(list(given))
    if subset is None:
        return None, None
    data = timm.data.ImageNetInfo(subset)
    return tuple(data.label_names()), unique_names([text.partition(",")[0] for text in data.label_descriptions()])


def _imagenet_ids() -> tuple[str, ...] | None:
    """Return the WordNet ids of the ImageNet classes in the order of torchvision's names, if timm is installed."""
    try:
        from timm.data import ImageNetInfo  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return tuple(ImageNetInfo("imagenet-1k").label_names())


# ---------------------------------------------------------------------- transformers

def _check_hf(transformers: Any, source: str, name: str, weights: str | None) -> None:
    folder = Path(name)
    if folder.exists() and not (folder / "config.json").is_file():
        raise CheckpointError(f"{source} has no config.json: name a folder that save_pretrained wrote")
    if not folder.exists() and not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)?", name):
        raise CheckpointError(f"the folder {name} of {source} does not exist: name one that save_pretrained wrote, or "
                              f"a model of the Hugging Face Hub as in {_EXAMPLES['hf']}")


def _load_hf(transformers: Any, source: str, name: str, weights: str | None) -> tuple[nn.Module, SourceInfo]:
    with _available(source, random=None):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        if type(config) not in transformers.AutoModelForImageClassification._model_mapping:
            raise UsageError(f"{source} is a {config.model_type} model, expected an image classifier: name a model of "
                             "AutoModelForImageClassification")
        model = transformers.AutoModelForImageClassification.from_pretrained(
            name, config=config, trust_remote_code=False, use_safetensors=True, dtype=torch.float32)
        processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False, backend="pil")
        info = _hf_info(processor, config, source)
    return Adapted(model, select_output="logits"), info


def _hf_info(processor: Any, config: Any, source: str) -> SourceInfo:
    """Return the record of an image processor.

    Mean and std are measured on a black and a white image: processors differ in how they rescale and normalize.
    """
    resize, crop = _hf_resize(processor)
    sizes = [*_pair(resize), *(crop or ())]
    if not all(isinstance(size, int) and 1 <= size <= _MAX_SIDE for size in sizes):
        raise CheckpointError(f"the image processor of {source} has the sizes {sizes}, expected 1 to {_MAX_SIDE}")
    black, white = (np.asarray(processor([np.full((*_LARGE, 3), value, np.uint8)])["pixel_values"][0], np.float64)
                    for value in (0, 255))
    middle = black.shape[1] // 2, black.shape[2] // 2  # outside of padding
    low, high = black[:, *middle], white[:, *middle]
    std = 1 / (high - low)
    mean, given = -low * std, [getattr(processor, key, None) or np.nan for key in ("image_mean", "image_std")]
    stored = [np.broadcast_to(values, low.shape) for values in given]
    if np.allclose((mean, std), stored, rtol=1e-4, atol=1e-5):
        mean, std = stored  # without rounding
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    return SourceInfo(channels=len(low), input_size=black.shape[1:], resize=resize, crop=crop,
                      interpolation=_filter(int(getattr(processor, "resample", None) or 2)),
                      mean=tuple(map(float, mean)), std=tuple(map(float, std)), class_names=unique_names(names))


def _hf_resize(processor: Any) -> tuple[Any, Any]:
    """Return `resize` and `crop` of the record."""
    size, crop = getattr(processor, "size", None), getattr(processor, "crop_size", None)
    crop = _pair((crop["height"], crop["width"])) if crop and getattr(processor, "do_center_crop", None) else None
    if not size or not getattr(processor, "do_resize", True):
        return None, crop
    shorter, fraction = size.get("shortest_edge"), getattr(processor, "crop_pct", None)
    if not shorter:
        return _pair((size["height"], size["width"])), crop
    if not fraction:
        return shorter, crop
    whole = shorter < _SQUASHED_FROM  # ConvNeXT: larger images are stretched and not cropped
    return (int(shorter / fraction), _pair(shorter)) if whole else (_pair(shorter), None)


# ---------------------------------------------------------------------- common

def _pair(size: Any) -> tuple[Any, ...]:
    """Return (height, width) of one number or a sequence of one or two.

    >>> _pair(224), _pair([224]), _pair((224, 256)), _pair(None)
    ((224, 224), (224, 224), (224, 256), ())
    """
    if size is None:
        return ()
    values = tuple(size) if isinstance(size, Sequence) else (size,)
    return (values[0], values[-1])


def _filter(value: int | str) -> Interpolation | None:
    """Return a filter by Pillow's number, or by a name of torchvision or timm.

    >>> _filter(3), _filter("bilinear"), _filter("nearest-exact")
    ('bicubic', 'bilinear', 'nearest')
    """
    name = str(_FILTERS.get(value) if isinstance(value, int) else value).partition("-")[0]
    return next((known for known in _FILTERS.values() if known == name), None)


_KNOWN: dict[str, Callable[[Any, str, str, str | None], None]] = {
    "torchvision": _check_torchvision, "timm": _check_timm, "hf": _check_hf}
_LOADERS: dict[str, Callable[[Any, str, str, str | None], tuple[nn.Module, SourceInfo]]] = {
    "torchvision": _load_torchvision, "timm": _load_timm, "hf": _load_hf}
