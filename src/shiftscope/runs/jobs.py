"""The training jobs of a run."""

import re
from dataclasses import dataclass

from shiftscope.settings import RunSettings

CONTROL = "two-full"
"""The model that is always trained on centered images as well."""


def slug(name: str) -> str:
    """Return `name` with characters that are safe in file names.

    >>> slug("my_models:Net")
    'my_models-Net'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "model"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model to train with one seed, on random placements or on centered images."""

    model: str
    seed: int
    centered: bool = False

    @property
    def key(self) -> str:
        """Name of the job in folders and logs, for example "two-full-centered-seed1"."""
        return f"{self.model}{'-centered' if self.centered else ''}-seed{self.seed}"


def jobs_of(run: RunSettings) -> list[Job]:
    """Return the jobs of a run, seed by seed; each control follows its model.

    >>> [job.key for job in jobs_of(RunSettings())]
    ['two-full-seed0', 'two-full-centered-seed0', 'two-conv-seed0']
    """
    jobs = []
    for seed in range(run.seed, run.seed + run.seeds):
        for model in run.models:
            jobs.append(Job(model=model, seed=seed))
            if run.controls or model == CONTROL:
                jobs.append(Job(model=model, seed=seed, centered=True))
    return jobs
