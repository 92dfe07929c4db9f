"""What the leaderboard can be asked. No torch here: the command line reads this page."""

from dataclasses import dataclass
from pathlib import Path

from leaderboard.entries import entries_named
from shiftscope.errors import require


@dataclass(frozen=True, kw_only=True)
class LeaderboardSettings:
    """Which entries, how often, and where their records go."""

    entries: tuple[str, ...] = ()
    """Make these only (default: all that --list names)."""
    seed: int = 0
    """First seed."""
    seeds: int = 3
    """How many seeds of each entry."""
    epochs: int | None = None
    """Passes over the training images, for a trial (default: each recipe's own)."""
    audit_images: int | None = None
    """Audit the first N test images only, for a trial (default: all of them)."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("shiftscope-leaderboard")
    """Work folder: checkpoints and training states."""
    results: Path = Path("benchmarks/results/leaderboard")
    """Folder of the records, one JSON file an entry and seed; what is there is not made again."""
    resume: bool = False
    """Go on with the work that --out holds."""
    overwrite: bool = False
    """Replace the work that --out holds; records stay."""

    def __post_init__(self) -> None:
        entries_named(self.entries)
        require(isinstance(self.seeds, int) and self.seeds >= 1, "seeds", self.seeds, "a whole number of at least 1")
        for name in ("epochs", "audit_images"):
            value = getattr(self, name)
            require(value is None or (isinstance(value, int) and value >= 1), name, value,
                    "a whole number of at least 1")
        require(not (self.resume and self.overwrite), "resume and overwrite", True, "not both given")
