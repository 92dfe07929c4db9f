"""Settings of the benchmarks. This module does not import torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from cyclopts import Parameter

from shiftscope.cli.flags import IMAGES, RESULTS, Canvas, Switch, parse_names
from shiftscope.errors import require
from shiftscope.files import plain

RESULT = Parameter(group=RESULTS)


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Settings of all benchmarks; `bench` is the name of the benchmark."""

    bench: ClassVar[str] = ""

    data: str = "garments"
    """garments (synthetic, built in), fashion-mnist, folder:PATH, npz:FILE, or package.module:object."""
    data_dir: Path | None = None
    """Folder that holds the dataset's files (else SHIFTSCOPE_DATA_DIR, else the user's cache folder)."""
    canvas: Annotated[tuple[int, int], Canvas, Parameter(group=IMAGES)] = (56, 56)
    """Height and width of the canvas, pixels."""
    repeats: int = 5
    """Rounds; each contestant runs once per round, and medians are over rounds."""
    growth: Annotated[bool, Switch, RESULT] = False
    """Also measure how the time grows with images, canvas, width and placements, and fit the exponents."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("shiftscope-bench")
    """Folder for the record (JSON) and the figures."""
    overwrite: Annotated[bool, Switch, RESULT] = False
    """Replace the record and the figures of an earlier benchmark in --out."""

    def __post_init__(self) -> None:
        _require_positive(self, "repeats")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings without folders as plain JSON."""
        excluded = ("out", "overwrite", "data_dir")
        return plain({name: value for name, value in asdict(self).items() if name not in excluded})


@dataclass(frozen=True, kw_only=True)
class ModelBench(BenchSettings):
    """Settings of benchmarks of models."""

    model: Annotated[tuple[str, ...], Parameter(converter=parse_names, consume_multiple=True, metavar="NAME")] = (
        "two-full", "two-conv")
    """two-full (perceptron), two-conv (convnet), or package.module:object of your own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.model) >= 1, "model", self.model, "at least one model")


@dataclass(frozen=True, kw_only=True)
class TrainingBench(ModelBench):
    """Training steps."""

    bench: ClassVar[str] = "training"

    steps: int | None = None
    """Steps per round, extrapolated to an epoch (default: as many as fit in half a minute per model)."""
    batch_size: int = 250
    """Images per step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "steps", "batch_size")


@dataclass(frozen=True, kw_only=True)
class AuditBench(ModelBench):
    """Every placement of test images."""

    bench: ClassVar[str] = "audit"

    images: int = 1000
    """Images per round for the dense engine."""
    sample: int = 8
    """Images per round for brute force and the plain script."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "images", "sample")


@dataclass(frozen=True, kw_only=True)
class VisualizeBench(ModelBench):
    """Images that maximally activate units."""

    bench: ClassVar[str] = "visualize"

    steps: int | None = None
    """Steps of gradient ascent (default: that of `visualize`)."""
    units: str = "all"
    """Units of each layer, as in 0-9."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "steps")


@dataclass(frozen=True, kw_only=True)
class DataBench(BenchSettings):
    """Batches without a model."""

    bench: ClassVar[str] = "data"

    steps: int = 40
    """Batches per round, extrapolated to an epoch."""
    batch_size: int = 250
    """Images per batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "steps", "batch_size")


def _require_positive(settings: BenchSettings, *names: str) -> None:
    """Raise a `UsageError` unless each of the settings is None or an integer of at least 1."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or (isinstance(value, int) and value >= 1), name, value, "an integer of at least 1")
