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
    centred: bool = False
    """Train on images in the middle of the canvas only."""
    preset: Preset = "default"
    """Which of the model's recipes."""
    mend: str | None = None
    """Name of a mend, as `shiftscope mend` has them."""
    finetune: int = 0
    """Epochs of training after the mend."""

    @property
    def training(self) -> str:
        """Name of the training that the entry rests on: entries that share it are trained once."""
        preset = "" if self.preset == "default" else f"-{self.preset}"
        return f"{self.model}{'-centred' if self.centred else ''}{preset}"

    @property
    def trained(self) -> Literal["moved", "centred"]:
        return "centred" if self.centred else "moved"

    @property
    def made(self) -> str:
        """How it is made, in a sentence.

        >>> Entry(name="x", title="x", model="two-conv", mend="blur", finetune=2).made
        'two-conv, trained moved by its default recipe, mended by blur, then 2 epochs of fine-tuning'
        """
        parts = [f"{self.model}, trained {self.trained} by its {self.preset} recipe"]
        if self.mend:
            parts.append(f"mended by {self.mend}")
        if self.finetune:
            parts.append(f"then {self.finetune} epoch{'s' if self.finetune > 1 else ''} of fine-tuning")
        return ", ".join(parts)


MENDS = {"two-full": ("placement-average", "recentre"),
         "two-conv": ("blur", "polyphase", "phase-average", "placement-average", "recentre")}
"""What can be done to the course's models: the perceptron has no strides to mend."""

FINETUNED = {"polyphase": 3}
"""Mends that change what later layers are given, and so are shown fine-tuned as well: epochs of training after them."""

_COURSE = {"two-full": "perceptron", "two-conv": "convnet"}


def _mended(model: str) -> list[Entry]:
    title, found = _COURSE[model], []
    for mend in MENDS[model]:
        found.append(Entry(name=f"{model}-{mend}", title=f"{title} + {mend}", model=model, mend=mend))
        if mend in FINETUNED:
            found.append(Entry(name=f"{model}-{mend}-finetuned", title=f"{title} + {mend}, fine-tuned", model=model,
                               mend=mend, finetune=FINETUNED[mend]))
    return found


ENTRIES: tuple[Entry, ...] = (
    Entry(name="two-full-centred", title="perceptron, trained centred", model="two-full", centred=True),
    Entry(name="two-full-centred-recentre", title="perceptron, centred + recentre", model="two-full",
          centred=True, mend="recentre"),
    *(Entry(name=model, title=title, model=model) for model, title in _COURSE.items()),
    *_mended("two-full"), *_mended("two-conv"),
    Entry(name="scattering-linear", title="scattering + linear", model="scattering-linear"),
    Entry(name="scattering-full", title="scattering + perceptron", model="scattering-full"),
    Entry(name="recentred-quick", title="track A, recentred, quick", model="recentred", preset="quick"),
    Entry(name="recentred-best", title="track A, recentred, best", model="recentred", preset="best"),
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
