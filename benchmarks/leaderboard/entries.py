"""Entries and settings of the leaderboard. This module does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shiftscope.errors import require, unknown
from shiftscope.settings import Preset


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row: a registry model, its training, and its repair."""

    name: str
    title: str
    model: str
    """Registry name."""
    centered: bool = False
    """Train on centered images only."""
    preset: Preset = "default"
    """Name of the model's recipe."""
    repair: str | None = None
    """Method of `shiftscope repair`."""
    finetune: int = 0
    """Epochs of training after the repair."""

    @property
    def training(self) -> str:
        """Name of the entry's training; entries with the same name share one training."""
        preset = "" if self.preset == "default" else f"-{self.preset}"
        return f"{self.model}{'-centered' if self.centered else ''}{preset}"

    @property
    def trained(self) -> Literal["random", "centered"]:
        return "centered" if self.centered else "random"

    @property
    def description(self) -> str:
        """How it is trained and repaired.

        >>> Entry(name="x", title="x", model="two-conv", repair="blur", finetune=2).description
        'two-conv, trained on random placements by its default recipe, repaired by blur, then 2 epochs of fine-tuning'
        """
        images = "centered images" if self.centered else "random placements"
        parts = [f"{self.model}, trained on {images} by its {self.preset} recipe"]
        if self.repair:
            parts.append(f"repaired by {self.repair}")
        if self.finetune:
            parts.append(f"then {self.finetune} epoch{'s' if self.finetune > 1 else ''} of fine-tuning")
        return ", ".join(parts)


REPAIRS = {"two-full": ("placement-average", "recenter"),
           "two-conv": ("blur", "polyphase", "phase-average", "placement-average", "recenter")}
"""Repairs of the course's models; the perceptron has no strides to repair."""

FINETUNED = {"polyphase": 3}
"""Epochs of fine-tuning after repairs that change the inputs of later layers; both variants are shown."""

_COURSE = {"two-full": "perceptron", "two-conv": "convnet"}


def _repaired(model: str) -> list[Entry]:
    title, entries = _COURSE[model], []
    for repair in REPAIRS[model]:
        entries.append(Entry(name=f"{model}-{repair}", title=f"{title} + {repair}", model=model, repair=repair))
        if repair in FINETUNED:
            entries.append(Entry(name=f"{model}-{repair}-finetuned", title=f"{title} + {repair}, fine-tuned",
                                 model=model, repair=repair, finetune=FINETUNED[repair]))
    return entries


ENTRIES: tuple[Entry, ...] = (
    Entry(name="two-full-centered", title="perceptron, trained centered", model="two-full", centered=True),
    Entry(name="two-full-centered-recenter", title="perceptron, centered + recenter", model="two-full",
          centered=True, repair="recenter"),
    *(Entry(name=model, title=title, model=model) for model, title in _COURSE.items()),
    *_repaired("two-full"), *_repaired("two-conv"),
    Entry(name="scattering-linear", title="scattering + linear", model="scattering-linear"),
    Entry(name="scattering-full", title="scattering + perceptron", model="scattering-full"),
    Entry(name="recentered-quick", title="recentered, quick", model="recentered", preset="quick"),
    Entry(name="recentered-best", title="recentered, best", model="recentered", preset="best"),
    Entry(name="invariant-quick", title="invariant, quick", model="invariant", preset="quick"),
    Entry(name="invariant-best", title="invariant, best", model="invariant", preset="best"),
)
"""All entries, the fast ones first. Chance is computed, see `ranking.chance_rows`."""


def entries_named(names: Sequence[str]) -> list[Entry]:
    """Return the entries with these names, in the leaderboard's order; without names, all of them.

    Raises:
        UsageError: if a name is unknown.

    Example:
        >>> [entry.name for entry in entries_named(["two-conv", "two-full"])]
        ['two-full', 'two-conv']
    """
    known = [entry.name for entry in ENTRIES]
    for name in names:
        if name not in known:
            raise unknown("entry of the leaderboard", name, known)
    return [entry for entry in ENTRIES if not names or entry.name in names]


@dataclass(frozen=True, kw_only=True)
class LeaderboardSettings:
    """Entries, seeds, and folders."""

    entries: tuple[str, ...] = ()
    """Compute these entries only (default: all that --list names)."""
    seed: int = 0
    """First seed."""
    seeds: int = 3
    """Number of seeds per entry."""
    epochs: int | None = None
    """Passes over the training images, for a trial (default: each recipe's own)."""
    audit_images: int | None = None
    """Audit the first N test images only, for a trial (default: all of them)."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("shiftscope-leaderboard")
    """Work folder: checkpoints and training states."""
    results: Path = Path("benchmarks/results/leaderboard")
    """Folder of the records, one JSON file per entry and seed; existing ones are not computed again."""
    resume: bool = False
    """Continue the work in --out."""
    overwrite: bool = False
    """Replace the work in --out; records are kept."""

    def __post_init__(self) -> None:
        entries_named(self.entries)
        require(isinstance(self.seeds, int) and self.seeds >= 1, "seeds", self.seeds, "an integer of at least 1")
        for name in ("epochs", "audit_images"):
            value = getattr(self, name)
            require(value is None or (isinstance(value, int) and value >= 1), name, value,
                    "an integer of at least 1")
        require(not (self.resume and self.overwrite), "resume and overwrite", True, "not both given")
