"""Every knob of Shiftscope, as frozen keyword-only dataclasses.

They are the one source for the Python interface, the command line, the TOML file and the documentation.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from shiftscope.errors import UsageError, require

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "cosine", "constant"]
Mode = Literal["canvas", "circular", "crop"]
Precision = Literal["float32", "tf32", "bfloat16"]
Preset = Literal["default", "quick", "best"]
Parametrized = Literal["pixels", "fourier", "maco"]


Background = int | Literal["texture"]


def require_time(limit: float | None) -> None:
    """Raise a `UsageError` where a limit, if there is one, is not a time in seconds.

    >>> require_time(0)
    Traceback (most recent call last):
    shiftscope.errors.UsageError: max_time must be a number of seconds above 0, got 0
    """
    require(limit is None or 0 < limit < float("inf"), "max_time", limit, "a number of seconds above 0")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained. What is left open (None) is taken from the model's recipe, see `RECIPES`."""

    epochs: int | None = None
    """Passes over the training images (default: the model's recipe)."""
    batch_size: int | None = None
    """Images an optimizer step (default: the model's recipe)."""
    optimizer: Optimizer | None = None
    """adamw, or sgd with momentum (default: the model's recipe)."""
    learning_rate: float | None = None
    """Largest learning rate of the schedule (default: the model's recipe)."""
    momentum: float = 0.9
    """Momentum of sgd (Nesterov), first beta of adamw."""
    weight_decay: float | None = None
    """Decoupled weight decay of adamw; L2 penalty of sgd. Not for biases (default: the recipe)."""
    schedule: Schedule | None = None
    """Course of the rate: one-cycle rises, then falls; cosine falls; constant stays (default: the model's recipe)."""
    label_smoothing: float | None = None
    """Share of the target spread evenly over all classes, 0 to below 1 (default: the model's recipe)."""
    mirror: bool | None = None
    """Show every second training image with left and right exchanged (default: the model's recipe)."""
    erase: float | None = None
    """Share of training images that lose a random rectangle, 0 to 1 (default: the model's recipe)."""
    small_canvas: float | None = None
    """Share of the epochs, the first ones, that lay images centered on a canvas little larger than they are: for models
    that are indifferent to place and take any canvas (default: the model's recipe)."""
    preset: Preset = "default"
    """Which of the model's recipes fills in what is left open: default, quick (minutes) or best (an hour or two)."""
    validation: int = 5000
    """Images cut from the training set to watch progress (at most a fifth of it)."""
    seed: int = 0
    """Fixes initial weights, order of images, placements and dropout."""
    micro_batch: int | None = None
    """Images a forward pass; gradients are summed over the batch. 0: all at once (default: what suits)."""
    channels_last: bool | None = None
    """Keep the channels of a pixel side by side in memory (default: what suits the device and the model)."""
    precision: Precision | None = None
    """bfloat16 multiplies in half precision, weights stay float32: faster on GPUs and on CPUs that have instructions
    for it. tf32, on NVIDIA GPUs: products in 19 bits. Others train in float32 (default: the model's recipe)."""
    compile: bool = False
    """Compile the model by torch.compile, on GPUs with CUDA graphs: shorter steps of small models after a start of some
    ten seconds. Needs a C++ compiler."""
    max_time: float | None = None
    """End after this many seconds, checkpoint saved; resuming goes on (default: no limit)."""

    def __post_init__(self) -> None:
        require_time(self.max_time)
        for name, least in (("epochs", 1), ("batch_size", 1), ("validation", 0), ("micro_batch", 0)):
            value = getattr(self, name)
            require(value is None or (isinstance(value, int) and value >= least), name, value,
                    f"a whole number of at least {least}")
        rate = self.learning_rate
        require(rate is None or 0 < rate < float("inf"), "learning_rate", rate, "a number above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        smoothing = self.label_smoothing
        require(smoothing is None or 0 <= smoothing < 1, "label_smoothing", smoothing, "at least 0 and below 1")
        require(self.erase is None or 0 <= self.erase <= 1, "erase", self.erase, "a share from 0 to 1")
        require(self.small_canvas is None or 0 <= self.small_canvas < 1, "small_canvas", self.small_canvas,
                "a share of the epochs, at least 0 and below 1")
        require(self.precision in (None, "float32", "tf32", "bfloat16"), "precision", self.precision,
                "float32, tf32 or bfloat16")
        require(self.preset in ("default", "quick", "best"), "preset", self.preset, "default, quick or best")
        decay = self.weight_decay
        require(decay is None or 0 <= decay < float("inf"), "weight_decay", decay, "a number of at least 0")
        require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")

    def resolve(self, model_name: str, dataset_name: str = "") -> "ResolvedSettings":
        """Return these settings with everything open taken from the recipe of the model on the dataset.

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
        """Return as plain JSON what decides the result; `max_time` only decides when to pause."""
        return _lasting(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What suits a model: a value for everything that `TrainSettings` leaves open. The defaults are for your own."""

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
    """`TrainSettings` with nothing left open but what the device decides."""

    momentum: float
    validation: int
    seed: int
    preset: Preset = "default"
    micro_batch: int | None = None
    channels_last: bool | None = None
    compile: bool = False
    max_time: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return as plain JSON what decides the result."""
        return _lasting(asdict(self))


def _lasting(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what may differ between beginning and resuming."""
    return {name: value for name, value in values.items() if name != "max_time"}


MODEL_ALIASES = {"recentred": "recentered"}
"""Former names of registry models, which are accepted wherever a model is named."""


def current_model_name(name: str) -> str:
    """Return the present name of a registry model; other names are returned unchanged.

    >>> current_model_name("recentred"), current_model_name("package.module:Net")
    ('recentered', 'package.module:Net')
    """
    return MODEL_ALIASES.get(name, name)


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
"""Recipes of the registry models, found on the validation split of Fashion-MNIST."""

PRESETS: dict[str, dict[str, Recipe]] = {
    "quick": {name: RECIPES[name] for name in ("recentered", "invariant")},
    "best": {
        "recentered": replace(RECIPES["recentered"], epochs=85, erase=0.5),
        "invariant": replace(RECIPES["invariant"], epochs=30, erase=0.5),
    },
}
"""Further recipes by preset: minutes or an hour on two cores."""

PRESET_ARGUMENTS: dict[Preset, dict[str, dict[str, Any]]] = {
    "default": {}, "quick": {},
    "best": {"recentered": {"widths": (48, 96, 192), "jitter": 2, "shifts": 1}},
}
"""What a registry model is built with for a preset, where that differs from its own defaults."""


def recipe_of(model_name: str, preset: str = "default") -> Recipe:
    """Return a model's recipe; the general one for models that have none of their own.

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
"""What differs from `RECIPES` on a dataset: the synthetic garments are few and must show their story within a minute."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, and how they lie on the canvas."""

    data: str = "garments"
    """garments (drawn, built in), fashion-mnist, folder:PATH, npz:FILE, packed:FILE, or package.module:object."""
    data_dir: Path | None = None
    """Folder that holds the dataset's files (else SHIFTSCOPE_DATA_DIR, else the user's cache folder)."""
    limit: int | None = None
    """Use the first N training and the first N test images only."""
    canvas: tuple[int, int] = (56, 56)
    """Height and width of the canvas, pixels."""
    mode: Mode = "canvas"
    """canvas: anywhere fully visible; circular: centered, then rolled; crop: the canvas shows a part of the image."""
    background: Background = 0
    """Raw pixel value 0 to 255 of an empty canvas, or texture."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The main job: which models, how often, and where the results go."""

    models: tuple[str, ...] = ("two-full", "two-conv")
    """Registry names (two-full, two-conv) or package.module:object of your own."""
    epochs: int | None = None
    """Passes over the training images, for every model (default: each model's recipe)."""
    seed: int = 0
    """First seed: initial weights, order of images, placements, dropout."""
    seeds: int = 1
    """How many seeds to train, one after the other: tables then show mean and spread."""
    controls: bool = False
    """Train every model on centered images too (the perceptron's control is always trained)."""
    audit: bool = True
    """End with an audit: every placement of the test images."""
    audit_images: int | None = None
    """Audit the first N test images only (default: all of them; 500 of the synthetic garments)."""
    max_time: float | None = None
    """End after this many seconds, all that is done saved; resuming goes on (default: no limit)."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("shiftscope-run")
    """Folder for the results."""
    resume: bool = False
    """Go on with the run that `out` holds; more seeds, models, controls or audits may be asked of it."""
    overwrite: bool = False
    """Replace the run that `out` holds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(map(current_model_name, self.models)))
        require(len(self.models) >= 1, "models", self.models, "at least one model")
        require(self.seeds >= 1, "seeds", self.seeds, "a whole number of at least 1")
        require(self.audit_images is None or self.audit_images >= 1, "audit_images", self.audit_images,
                "a whole number of at least 1")
        require_time(self.max_time)
        require(not (self.resume and self.overwrite), "resume and overwrite", True, "not both given")


@dataclass(frozen=True, kw_only=True)
class SynthesisSettings:
    """How a picture that excites a unit is made: gradient ascent. What is left open (None) is taken from a preset.

    The preset is chosen by the model's pictures and by what is asked of it, see `shiftscope.visualization.presets`.
    """

    parametrization: Parametrized | None = None
    """pixels, fourier (frequencies f weighted by 1/f), or maco (the phase alone, needs training images)."""
    steps: int | None = None
    """Steps of gradient ascent."""
    step_size: float | None = None
    """Length of a step: root mean square change of the pixels' logits before smoothing; of maco's phases, radians."""
    momentum: float | None = None
    """Share of a step that the next one keeps."""
    views: int | None = None
    """Ways in which each step looks at a picture, moved and changed each time; it follows their sum."""
    jitter: int | None = None
    """Moves the picture by up to this many pixels, another way each view: what only works at one place fades."""
    jitter_mode: Literal["circular", "crop"] | None = None
    """What leaves the canvas enters at the other side (circular), or is lost while the start moves in (crop)."""
    settle: float | None = None
    """Share of the jitter that is gone by the last step: first what works anywhere, then its details."""
    scale: float | None = None
    """Makes the picture larger or smaller by up to this share, another way each view."""
    noise: float | None = None
    """Deviation of the noise added to each view's pixels."""
    view_blur: float | None = None
    """Blurs each view by a Gaussian of up to this width, pixels."""
    window: float | None = None
    """Share of the canvas's height and width, in the middle, that the picture may fill; the start shows outside it."""
    blur: float | None = None
    """Width of the Gaussian that smooths each step, pixels."""
    total_variation: float | None = None
    """Weight of the penalty on differences between neighboring pixels; 1 outweighs a typical gradient."""
    l2: float | None = None
    """Weight of the penalty on squared distance from the start, pixels."""
    decay: float | None = None
    """Share by which the picture fades toward its start each step."""
    radius: float | None = None
    """Largest L2 norm of the change from the start, pixels in [0, 1] (default: no bound)."""
    leak: float | None = None
    """Slope of ReLUs below zero in the first quarter of the steps, so that silent units wake up."""
    patience: int | None = None
    """A unit stops when its score has not risen for so many steps; 0: never early."""
    memory: int | None = None
    """Memory for the pictures made at once, MiB (default: what suits the device)."""
    seed: int = 0
    """Fixes random starts and the views."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("views", 1), ("jitter", 0), ("patience", 0), ("memory", 1)):
            value = getattr(self, name)
            require(value is None or (isinstance(value, int) and value >= least), name, value,
                    f"a whole number of at least {least}")
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
        require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 to 2**63 - 1")
        require(self.radius is None or self.parametrization in (None, "pixels"), "radius", self.radius,
                f"left open with the parametrization {self.parametrization}: only pixels can be bounded")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class BesideSettings:
    """What stands beside each synthesis."""

    neighbors: int = 9
    """Real images for each unit, those that excite it most, with their placement; 0: none."""
    placements: int | None = None
    """Look at so many placements of each image at most, thinned out evenly (default: all; the convnet's 841 take a
    minute or two on two cores)."""
    judge: Path | None = None
    """Checkpoint of another classifier of the same classes, to see how often it recognizes the pictures of classes."""
    judge_code: str | None = None
    """Where the judge is of your own code: its model as package.module:object, to be imported."""
    seeds: int = 0
    """Make the pictures again from so many random starts, to see how much they differ; 0: do not."""

    def __post_init__(self) -> None:
        require(self.neighbors >= 0, "neighbors", self.neighbors, "a whole number, 0 or more")
        require(self.placements is None or self.placements >= 1, "placements", self.placements,
                "a whole number of at least 1")
        require(self.seeds == 0 or self.seeds >= 2, "seeds", self.seeds, "0 or at least 2")


PLAIN_ASCENT = SynthesisSettings(parametrization="pixels", steps=20, step_size=0.08, momentum=0.0, views=1, jitter=0,
                                 settle=0.0, scale=0.0, noise=0.0, view_blur=0.0, window=1.0, blur=0.0,
                                 total_variation=0.0, l2=0.0, decay=0.0, leak=0.0, patience=0)
"""Gradient ascent and nothing else: what a unit's gradient alone says, without any regularization."""
