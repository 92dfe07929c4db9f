"""The trainings of a run by name, as its settings ask for them."""

import re
from dataclasses import dataclass

from shiftscope.settings import RunSettings

CONTROL = "two-full"
"""The model whose centered twin is always trained: what moving costs is the first lesson."""


def slug(name: str) -> str:
    """Return `name` as a file name.

    >>> slug("my_models:Net")
    'my_models-Net'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "model"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train: a model, on moved or on centered images, with one seed."""

    model: str
    seed: int
    centered: bool = False

    @property
    def key(self) -> str:
        """The job's name in folders and logs, for instance "two-full-centered-seed1"."""
        return f"{self.model}{'-centered' if self.centered else ''}-seed{self.seed}"


def jobs_of(run: RunSettings) -> list[Job]:
    """Return the trainings of a run, seed by seed, each control right after its model.

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
