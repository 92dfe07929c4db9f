"""All settings, as frozen dataclasses: the source of the Python interface, command line, TOML file and documents."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from shiftscope.errors import UsageError, require
from shiftscope.migration import MODELS

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "cosine", "constant"]
Mode = Literal["canvas", "circular", "crop", "fill"]
Fill = Literal["constant", "edge", "reflect"]
Resize = Literal["pad", "stretch", "shorter"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Precision = Literal["float32", "tf32", "bfloat16"]
Preset = Literal["default", "quick", "best"]
Parametrization = Literal["pixels", "fourier", "maco"]
Background = int | Literal["texture"]

VALIDATION_IMAGES = 5000
"""Default number of validation images, see `Dataset.split`."""


def require_time(limit: float | None) -> None:
    """Raise a `UsageError` if a time limit is given and is not a positive number of seconds.

    >>> require_time(0)
    Traceback (most recent call last):
    shiftscope.errors.UsageError: max_time must be a number of seconds above 0, got 0
    """
    require(limit is None or 0 < limit < float("inf"), "max_time", limit, "a number of seconds above 0")


def _require_integers(settings: Any, **least: int) -> None:
    """Raise a `UsageError` if a setting is given and is not an integer of at least its number in `least`."""
    for name, low in least.items():
        got = getattr(settings, name)
        require(got is None or (isinstance(got, int) and got >= low), name, got, f"an integer of at least {low}")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained. Settings that are None are taken from the model's recipe, see `RECIPES`."""

    epochs: int | None = None
    """Passes over the training images (default: the model's recipe)."""
    batch_size: int | None = None
    """Images per optimizer step (default: the model's recipe)."""
    optimizer: Optimizer | None = None
    """adamw, or sgd with momentum (default: the model's recipe)."""
    learning_rate: float | None = None
    """Largest learning rate of the schedule (default: the model's recipe)."""
    momentum: float = 0.9
    """Momentum of sgd (Nesterov), first beta of adamw."""
    weight_decay: float | None = None
    """Decoupled weight decay of adamw; L2 penalty of sgd. Not for biases (default: the recipe)."""
    schedule: Schedule | None = None
    """Learning rate schedule: one-cycle, cosine or constant (default: the model's recipe)."""
    label_smoothing: float | None = None
    """Fraction of the target that is spread evenly over all classes, 0 to below 1 (default: the model's recipe)."""
    mirror: bool | None = None
    """Flip training images horizontally with probability 0.5 (default: the model's recipe)."""
    erase: float | None = None
    """Probability of random erasing for a training image, 0 to 1 (default: the model's recipe)."""
    small_canvas: float | None = None
    """Fraction of the epochs, from the first, that train on centered images on a canvas slightly larger than the image.
    For translation-invariant models that accept any canvas size (default: the model's recipe)."""
    preset: Preset = "default"
    """Recipe that provides the settings not given: default, quick (minutes) or best (one to two hours)."""
    validation: int = VALIDATION_IMAGES
    """Number of training images held out for validation (at most a fifth of the training set)."""
    seed: int = 0
    """Seed of the initial weights, the order of images, the placements and dropout."""
    micro_batch: int | None = None
    """Images per forward pass; gradients are accumulated. 0: the whole batch (default: chosen by a timed trial)."""
    channels_last: bool | None = None
    """Use the channels-last memory format (default: chosen for the device and the model)."""
    precision: Precision | None = None
    """bfloat16: mixed precision with float32 weights, faster on GPUs and on CPUs with bfloat16 instructions. tf32: TF32
    matrix products on NVIDIA GPUs. float32 elsewhere (default: the model's recipe)."""
    compile: bool = False
    """Compile the model with torch.compile (on GPUs with CUDA graphs): faster steps for small models, about ten seconds
    of startup. Requires a C++ compiler."""
    max_time: float | None = None
    """Stop after this many seconds and save a checkpoint; training can be resumed (default: no limit)."""

    def __post_init__(self) -> None:
        require_time(self.max_time)
        _require_integers(self, epochs=1, batch_size=1, validation=0, micro_batch=0)
        rate = self.learning_rate
        require(rate is None or 0 < rate < float("inf"), "learning_rate", rate, "a number above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        smoothing = self.label_smoothing
        require(smoothing is None or 0 <= smoothing < 1, "label_smoothing", smoothing, "at least 0 and below 1")
        require(self.erase is None or 0 <= self.erase <= 1, "erase", self.erase, "a fraction from 0 to 1")
        require(self.small_canvas is None or 0 <= self.small_canvas < 1, "small_canvas", self.small_canvas,
                "a fraction of the epochs, at least 0 and below 1")
        require(self.precision in (None, *get_args(Precision)), "precision", self.precision,
                "float32, tf32 or bfloat16")
        require(self.preset in ("default", "quick", "best"), "preset", self.preset, "default, quick or best")
        decay = self.weight_decay
        require(decay is None or 0 <= decay < float("inf"), "weight_decay", decay, "a number of at least 0")
        require(0 <= self.seed < 2**63, "seed", self.seed, "an integer from 0 to 2**63 - 1")

    def resolve(self, model_name: str, dataset_name: str = "") -> "ResolvedSettings":
        """Return these settings, completed by the recipe of the model for the dataset.

        >>> TrainSettings(epochs=3).resolve("two-full").epochs
        3
        >>> TrainSettings().resolve("my_module:Net").optimizer
        'adamw'
        """
        model_name = current_model_name(model_name)
        recipe = recipe_of(model_name, self.preset)
        recipe = replace(recipe, **DATASET_RECIPES.get(dataset_name, {}).get(model_name, {}))
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return ResolvedSettings(**(asdict(recipe) | values))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that affect the result as plain JSON; `max_time` does not."""
        return _fixed(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Default training settings of a model. The defaults of this class apply to models outside the registry."""

    epochs: int = 18
    batch_size: int = 125
    optimizer: Optimizer = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    schedule: Schedule = "one-cycle"
    label_smoothing: float = 0.0
    mirror: bool = False
    erase: float = 0.0
    small_canvas: float = 0.0
    precision: Precision = "float32"


@dataclass(frozen=True, kw_only=True)
class ResolvedSettings(Recipe):
    """`TrainSettings` completed by a recipe; only settings that depend on the device can be None."""

    momentum: float
    validation: int
    seed: int
    preset: Preset = "default"
    micro_batch: int | None = None
    channels_last: bool | None = None
    compile: bool = False
    max_time: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that affect the result as plain JSON."""
        return _fixed(asdict(self))


def _fixed(values: dict[str, Any]) -> dict[str, Any]:
    """Remove settings that may change when a training is resumed."""
    return {name: value for name, value in values.items() if name != "max_time"}


def current_model_name(name: str) -> str:
    """Return the present name of a registry model whose former name is given; other names are returned unchanged.

    >>> current_model_name("recentred"), current_model_name("package.module:Net")
    ('recentered', 'package.module:Net')
    """
    return MODELS.get(name, name)


RECIPES: dict[str, Recipe] = {
    "two-full": Recipe(epochs=30, batch_size=250),
    "two-conv": Recipe(epochs=10),
    "recentered": Recipe(epochs=16, weight_decay=0.05, label_smoothing=0.05, mirror=True, erase=0.3,
                        precision="bfloat16"),
    "invariant": Recipe(epochs=12, weight_decay=0.05, label_smoothing=0.05, mirror=True, small_canvas=0.7,
                        precision="bfloat16"),
    "scattering-linear": Recipe(epochs=15, batch_size=250, learning_rate=0.05),
    "scattering-full": Recipe(epochs=20, batch_size=250, learning_rate=0.01),
}
"""Recipes of the registry models, tuned on the validation split of Fashion-MNIST."""

PRESETS: dict[str, dict[str, Recipe]] = {
    "quick": {name: RECIPES[name] for name in ("recentered", "invariant")},
    "best": {
        "recentered": replace(RECIPES["recentered"], epochs=85, erase=0.5),
        "invariant": replace(RECIPES["invariant"], epochs=30, erase=0.5),
    },
}
"""Further recipes by preset: minutes, or one to two hours, on two cores."""

PRESET_ARGUMENTS: dict[Preset, dict[str, dict[str, Any]]] = {
    "default": {}, "quick": {},
    "best": {"recentered": {"widths": (48, 96, 192), "jitter": 2, "shifts": 1}},
}
"""Constructor arguments of registry models by preset, where they differ from the defaults."""


def recipe_of(model_name: str, preset: str = "default") -> Recipe:
    """Return the recipe of a model; the general recipe for models outside the registry.

    Raises:
        UsageError: the preset has no recipe for this model.

    Example:
        >>> recipe_of("recentered", "best").erase
        0.5
    """
    model_name = current_model_name(model_name)
    if preset == "default":
        return RECIPES.get(model_name, Recipe())
    if model_name not in PRESETS[preset]:
        raise UsageError(f"preset {preset!r} has no recipe for {model_name}: choose the preset default, or one of the "
                         f"models {', '.join(PRESETS[preset])}")
    return PRESETS[preset][model_name]


DATASET_RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "garments": {"two-full": {"epochs": 15}, "two-conv": {"epochs": 5}},
}
"""Differences from `RECIPES` by dataset: synthetic garments are few, and the demo should train within a minute."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The dataset, and how its images are placed on the canvas."""

    data: str = "garments"
    """garments, fashion-mnist, mnist, folder:, npz:, csv:, idx: or packed:PATH, or package.module:object."""
    data_dir: Path | None = None
    """Folder with the dataset's files (default: SHIFTSCOPE_DATA_DIR, else the user's cache folder)."""
    limit: int | None = None
    """Use only the first N training images and the first N test images."""
    image_size: tuple[int, int] | None = None
    """Height and width to which a folder's images are resized (default: the usual size), or that a CSV file's have."""
    resize: Resize | None = None
    """pad: aspect ratio kept, padded; stretch: not kept; shorter: kept, cropped (default: shorter in mode crop)."""
    shorter_side: int | None = None
    """Pixels of a folder's images' shorter side before the center is cropped (default: 256/224 of the canvas)."""
    interpolation: Interpolation | None = None
    """How a folder's images are scaled (default: bilinear)."""
    canvas: tuple[int, int] | None = None
    """Height and width of the canvas in pixels (default: 56 x 56; mode fill: the size of the images)."""
    mode: Mode = "canvas"
    """canvas: image fully visible; circular: centered and rolled; crop: window of the image; fill: shifted, filled."""
    fill: Fill | None = None
    """Mode fill: constant (the background), edge or reflect (default: reflect for RGB images from 64 x 64 pixels)."""
    max_shift: int | None = None
    """Only placements at most this many pixels from the middle (default: all; mode fill: an eighth of the image)."""
    background: Background = 0
    """Pixel value of the empty canvas (0 to 255), or texture."""

    def __post_init__(self) -> None:
        if self.canvas is None and self.mode != "fill":
            object.__setattr__(self, "canvas", (56, 56))


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of `shiftscope run`: models, seeds and the folder for results."""

    models: tuple[str, ...] = ("two-full", "two-conv")
    """Registry names (two-full, two-conv) or package.module:object."""
    epochs: int | None = None
    """Passes over the training images, for all models (default: each model's recipe)."""
    seed: int = 0
    """First seed (initial weights, order of images, placements, dropout)."""
    seeds: int = 1
    """Number of seeds to train; with several, tables show mean and standard deviation."""
    controls: bool = False
    """Train every model on centered images as well (always done for the perceptron)."""
    audit: bool = True
    """Audit all placements of the test images at the end."""
    audit_images: int | None = None
    """Audit only the first N test images (default: all; 500 of the synthetic garments)."""
    max_time: float | None = None
    """Stop after this many seconds and save; the run can be resumed (default: no limit)."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("shiftscope-run")
    """Folder for the results."""
    resume: bool = False
    """Continue the run in `out`; seeds, models, controls and audits can be added."""
    overwrite: bool = False
    """Replace the run in `out`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(map(current_model_name, self.models)))
        require(len(self.models) >= 1, "models", self.models, "at least one model")
        _require_integers(self, seeds=1, audit_images=1)
        require_time(self.max_time)
        require(not (self.resume and self.overwrite), "resume and overwrite", True, "not both given")


@dataclass(frozen=True, kw_only=True)
class SynthesisSettings:
    """How a maximally activating image is synthesized by gradient ascent. Settings that are None come from a preset.

    The preset depends on the model's input and on the objective, see `shiftscope.visualization.presets`.
    """

    parametrization: Parametrization | None = None
    """pixels, fourier (frequencies f weighted by 1/f), or maco (only the phase is optimized; needs training images)."""
    steps: int | None = None
    """Number of gradient ascent steps."""
    step_size: float | None = None
    """Root mean square change per step: of the pixels' logits before smoothing, or of maco's phases in radians."""
    momentum: float | None = None
    """Momentum of the gradient ascent, at least 0 and below 1."""
    views: int | None = None
    """Number of randomly transformed copies of the image per step; gradients are summed over them."""
    jitter: int | None = None
    """Largest random shift of each view in pixels."""
    jitter_mode: Literal["circular", "crop"] | None = None
    """circular: shifted images wrap around; crop: content that leaves the canvas is replaced by the start image."""
    settle: float | None = None
    """Fraction by which the jitter has decreased at the last step."""
    scale: float | None = None
    """Largest random change of scale of each view, as a fraction."""
    noise: float | None = None
    """Standard deviation of the noise added to each view's pixels."""
    view_blur: float | None = None
    """Largest standard deviation of the random Gaussian blur of each view, in pixels."""
    window: float | None = None
    """Fraction of the canvas height and width, in the middle, that is optimized; the start image stays outside it."""
    blur: float | None = None
    """Standard deviation of the Gaussian that smooths each step, in pixels."""
    total_variation: float | None = None
    """Weight of the total variation penalty; 1 exceeds a typical gradient."""
    l2: float | None = None
    """Weight of the penalty on the squared distance from the start image."""
    decay: float | None = None
    """Fraction by which the image decays toward the start image per step."""
    radius: float | None = None
    """Largest L2 norm of the difference from the start image, with pixels in [0, 1] (default: no bound)."""
    leak: float | None = None
    """Slope of ReLUs below zero in the first quarter of the steps, which gives inactive units a gradient."""
    patience: int | None = None
    """Stop a unit after this many steps without an increase of its score; 0: never stop early."""
    memory: int | None = None
    """Memory for the images that are optimized together, in MiB (default: chosen for the device)."""
    seed: int = 0
    """Seed of random start images and views."""

    def __post_init__(self) -> None:
        _require_integers(self, steps=1, views=1, jitter=0, patience=0, memory=1)
        for name in ("step_size", "radius"):
            value = getattr(self, name)
            require(value is None or 0 < value < float("inf"), name, value, "a number above 0")
        for name in ("momentum", "decay", "leak", "scale", "settle"):
            value = getattr(self, name)
            require(value is None or 0 <= value < 1, name, value, "at least 0 and below 1")
        for name in ("blur", "total_variation", "noise", "view_blur", "l2"):
            value = getattr(self, name)
            require(value is None or 0 <= value < float("inf"), name, value, "a number of at least 0")
        self._check_words()

    def _check_words(self) -> None:
        require(self.parametrization in (None, "pixels", "fourier", "maco"), "parametrization", self.parametrization,
                "pixels, fourier or maco")
        require(self.jitter_mode in (None, "circular", "crop"), "jitter_mode", self.jitter_mode, "circular or crop")
        require(self.window is None or 0 < self.window <= 1, "window", self.window, "above 0 and at most 1")
        require(0 <= self.seed < 2**63, "seed", self.seed, "an integer from 0 to 2**63 - 1")
        require(self.radius is None or self.parametrization in (None, "pixels"), "radius", self.radius,
                f"None with parametrization {self.parametrization}: only pixels can be bounded")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SynthesisChecks:
    """Real images and measurements that are shown with each synthesized image."""

    neighbors: int = 9
    """Number of real images with the highest activation to show for each unit, with their placement; 0: none."""
    neighbor_images: int | None = None
    """Number of the first test images that are searched (default: as many as fit into 20 seconds, at most 500)."""
    placements: int | None = None
    """Largest number of evenly spaced placements of each image (default: 64)."""
    judge: Path | None = None
    """Checkpoint of another classifier with the same classes that classifies the images synthesized for classes."""
    judge_code: str | None = None
    """Model of the judge as package.module:object, if it is not a registry model; it is imported."""
    seeds: int = 0
    """Synthesize from this many random start images and measure how much the results differ; 0: do not."""

    def __post_init__(self) -> None:
        _require_integers(self, neighbors=0, neighbor_images=1, placements=1)
        require(self.seeds == 0 or self.seeds >= 2, "seeds", self.seeds, "0 or at least 2")


PLAIN_ASCENT = SynthesisSettings(parametrization="pixels", steps=20, step_size=0.08, momentum=0.0, views=1, jitter=0,
                                 settle=0.0, scale=0.0, noise=0.0, view_blur=0.0, window=1.0, blur=0.0,
                                 total_variation=0.0, l2=0.0, decay=0.0, leak=0.0, patience=0)
"""Plain gradient ascent without regularization."""
