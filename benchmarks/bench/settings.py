"""What a benchmark can be asked. No torch here: the command line reads this page."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from shiftscope.errors import require
from shiftscope.files import plain


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What all benchmarks share; `bench` is the name of the one that the settings are for."""

    bench: ClassVar[str] = ""

    data: str = "garments"
    """garments (drawn, built in), fashion-mnist, folder:PATH, npz:FILE, or package.module:object."""
    data_dir: Path | None = None
    """Folder that holds the dataset's files (else SHIFTSCOPE_DATA_DIR, else the user's cache folder)."""
    canvas: tuple[int, int] = (56, 56)
    """Height and width of the canvas, pixels."""
    repeats: int = 5
    """Rounds: in each one every contestant has one turn; medians are taken over them."""
    growth: bool = False
    """Measure as well how the time grows with images, canvas, width and placements, and fit the exponents."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("shiftscope-bench")
    """Folder for the record (JSON) and the figures."""
    overwrite: bool = False
    """Replace the record and the figures of an earlier benchmark in --out."""

    def __post_init__(self) -> None:
        _whole(self, "repeats")

    def to_dict(self) -> dict[str, Any]:
        """Return what was asked but for the folders, as plain JSON."""
        left_out = ("out", "overwrite", "data_dir")
        return plain({name: value for name, value in asdict(self).items() if name not in left_out})


@dataclass(frozen=True, kw_only=True)
class ModelBench(BenchSettings):
    """A benchmark that models take part in."""

    model: tuple[str, ...] = ("two-full", "two-conv")
    """two-full (perceptron), two-conv (convnet), or package.module:object of your own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.model) >= 1, "model", self.model, "at least one model")


@dataclass(frozen=True, kw_only=True)
class TrainingBench(ModelBench):
    """Training steps."""

    bench: ClassVar[str] = "training"

    steps: int | None = None
    """Steps a turn, from which an epoch is extrapolated (default: as many as keep each model within half a minute)."""
    batch_size: int = 250
    """Images a step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole(self, "steps", "batch_size")


@dataclass(frozen=True, kw_only=True)
class AuditBench(ModelBench):
    """Every placement of test images."""

    bench: ClassVar[str] = "audit"

    images: int = 1000
    """Images that the dense engine audits in a turn."""
    sample: int = 8
    """Images that brute force and the plain script are given in a turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole(self, "images", "sample")


@dataclass(frozen=True, kw_only=True)
class VisualizeBench(ModelBench):
    """Pictures that units like best."""

    bench: ClassVar[str] = "visualize"

    steps: int | None = None
    """Steps of gradient ascent (default: as `visualize` takes)."""
    units: str = "all"
    """Which units of each layer, as in 0-9."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole(self, "steps")


@dataclass(frozen=True, kw_only=True)
class DataBench(BenchSettings):
    """Batches without a model."""

    bench: ClassVar[str] = "data"

    steps: int = 40
    """Batches a turn, from which an epoch is extrapolated."""
    batch_size: int = 250
    """Images a batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole(self, "steps", "batch_size")


def _whole(settings: BenchSettings, *names: str) -> None:
    """Raise a `UsageError` where one of the settings is neither open nor a whole number of at least 1."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or (isinstance(value, int) and value >= 1), name, value, "a whole number of at least 1")
