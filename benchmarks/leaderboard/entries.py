"""What stands on the leaderboard. No torch here: the command line reads this page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shiftscope.errors import unknown
from shiftscope.settings import Preset


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: a registry model, how it is trained, and what is done to it afterwards."""

    name: str
    title: str
    model: str
    """Registry name."""
    centered: bool = False
    """Train on images in the middle of the canvas only."""
    preset: Preset = "default"
    """Which of the model's recipes."""
    repair: str | None = None
    """Name of a repair, as `shiftscope repair` has them."""
    finetune: int = 0
    """Epochs of training after the repair."""

    @property
    def training(self) -> str:
        """Name of the training that the entry rests on: entries that share it are trained once."""
        preset = "" if self.preset == "default" else f"-{self.preset}"
        return f"{self.model}{'-centered' if self.centered else ''}{preset}"

    @property
    def trained(self) -> Literal["random", "centered"]:
        return "centered" if self.centered else "random"

    @property
    def made(self) -> str:
        """How it is made, in a sentence.

        >>> Entry(name="x", title="x", model="two-conv", repair="blur", finetune=2).made
        'two-conv, trained on random placements by its default recipe, repaired by blur, then 2 epochs of fine-tuning'
        """
        parts = [f"{self.model}, trained {self.trained} by its {self.preset} recipe"]
        if self.repair:
            parts.append(f"repaired by {self.repair}")
        if self.finetune:
            parts.append(f"then {self.finetune} epoch{'s' if self.finetune > 1 else ''} of fine-tuning")
        return ", ".join(parts)


REPAIRS = {"two-full": ("placement-average", "recenter"),
         "two-conv": ("blur", "polyphase", "phase-average", "placement-average", "recenter")}
"""What can be done to the course's models: the perceptron has no strides to repair."""

FINETUNED = {"polyphase": 3}
"""Repairs that change what later layers are given, and so are shown fine-tuned as well: epochs of training after them."""

_COURSE = {"two-full": "perceptron", "two-conv": "convnet"}


def _repaired(model: str) -> list[Entry]:
    title, found = _COURSE[model], []
    for repair in REPAIRS[model]:
        found.append(Entry(name=f"{model}-{repair}", title=f"{title} + {repair}", model=model, repair=repair))
        if repair in FINETUNED:
            found.append(Entry(name=f"{model}-{repair}-finetuned", title=f"{title} + {repair}, fine-tuned", model=model,
                               repair=repair, finetune=FINETUNED[repair]))
    return found


ENTRIES: tuple[Entry, ...] = (
    Entry(name="two-full-centered", title="perceptron, trained centered", model="two-full", centered=True),
    Entry(name="two-full-centered-recenter", title="perceptron, centered + recenter", model="two-full",
          centered=True, repair="recenter"),
    *(Entry(name=model, title=title, model=model) for model, title in _COURSE.items()),
    *_repaired("two-full"), *_repaired("two-conv"),
    Entry(name="scattering-linear", title="scattering + linear", model="scattering-linear"),
    Entry(name="scattering-full", title="scattering + perceptron", model="scattering-full"),
    Entry(name="recentered-quick", title="track A, recentered, quick", model="recentered", preset="quick"),
    Entry(name="recentered-best", title="track A, recentered, best", model="recentered", preset="best"),
    Entry(name="invariant-quick", title="track B, invariant, quick", model="invariant", preset="quick"),
    Entry(name="invariant-best", title="track B, invariant, best", model="invariant", preset="best"),
)
"""All entries, the cheap ones first. Chance is not made but computed, see `ranking.chance_rows`."""


def entries_named(names: Sequence[str]) -> list[Entry]:
    """Return the entries of these names, in the leaderboard's order; all of them where no name is given.

    Raises:
        UsageError: an unknown name.

    Example:
        >>> [entry.name for entry in entries_named(["two-conv", "two-full"])]
        ['two-full', 'two-conv']
    """
    known = [entry.name for entry in ENTRIES]
    for name in names:
        if name not in known:
            raise unknown("entry of the leaderboard", name, known)
    return [entry for entry in ENTRIES if not names or entry.name in names]
