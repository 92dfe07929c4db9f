"""All figures of one or several audits, with their names and captions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from shiftscope.reporting.audit_classes import class_maps
from shiftscope.reporting.audit_grid import audit_title, check_audits
from shiftscope.reporting.audit_histogram import right_counts_histogram
from shiftscope.reporting.audit_images import wavering_images
from shiftscope.reporting.audit_map import accuracy_map
from shiftscope.reporting.audit_phases import phase_tables
from shiftscope.reporting.equivariance import layer_profile
from shiftscope.reporting.wording import model_title
from shiftscope.results import Audit, Equivariance
from shiftscope.runs import slug


class NamedFigure(NamedTuple):
    """A figure with the name of its files and a line for the report."""

    name: str
    figure: Figure
    caption: str


def audit_figures(audits: Sequence[Audit], profiles: Sequence[Equivariance] = ()) -> Iterator[NamedFigure]:
    """Draw all figures of audits, one after the other: first those that show all models side by side.

    Args:
        audits: each of its own model, two or three at most for maps side by side that fit on a page.
        profiles: layer profiles, of the same models or others.

    Yields:
        accuracy-map, placements-right, then for each model class-maps-NAME, changes-NAME, remainders-NAME, and for
        each profile layers-NAME.

    Raises:
        UsageError: no audits.
    """
    check_audits(audits)
    yield NamedFigure("accuracy-map", accuracy_map(audits),
                      "Accuracy at every placement of the image on its canvas, and what follows from it.")
    yield NamedFigure("placements-right", right_counts_histogram(audits),
                      "How many images are right at how many placements. The bar at the right is the worst case.")
    for audit, key in zip(audits, _keys([_model(audit) for audit in audits]), strict=True):
        yield from _of_one(audit, key)
    for profile, key in zip(profiles, _keys([profile.model for profile in profiles]), strict=True):
        yield NamedFigure(f"layers-{key}", layer_profile(profile),
                          f"{model_title(profile.model)}: which layer stops following the object when it moves.")


def audit_figure_names(subjects: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of all figures that audits and layer profiles of models may have.

    Args:
        subjects: name of each model, and how it was trained, in the order of the audits.

    Example:
        >>> audit_figure_names([("net", "centered")])[2:]
        ['class-maps-net-centered', 'changes-net-centered', 'remainders-net-centered', 'layers-net']
    """
    own = [f"{kind}-{key}" for key in _keys([_name(*subject) for subject in subjects])
           for kind in ("class-maps", "changes", "remainders")]
    return ["accuracy-map", "placements-right", *own, *(f"layers-{key}" for key in _keys([m for m, _ in subjects]))]


def _of_one(audit: Audit, key: str) -> Iterator[NamedFigure]:
    title = audit_title(audit)
    yield NamedFigure(f"class-maps-{key}", class_maps(audit),
                      f"{title}: accuracy at every placement, class by class, on one scale.")
    if len(audit.shown_index):
        yield NamedFigure(f"changes-{key}", wavering_images(audit),
                          f"{title}: what it says of an image at every placement, for the images about which it "
                          "changes its mind most.")
    yield NamedFigure(f"remainders-{key}", phase_tables(audit),
                      f"{title}: accuracy by what is left of the offset after division by 2, 4 and 8.")


def _model(audit: Audit) -> str:
    """The model's name, with how it was trained where that was not the usual way."""
    return _name(audit.model, audit.trained)


def _name(model: str, trained: str) -> str:
    return f"{model}-centered" if trained == "centered" else model


def _keys(models: Sequence[str]) -> list[str]:
    """Names for files, numbered where two are alike."""
    keys: list[str] = []
    for model in models:
        key = slug(model)
        again = sum(known == key or known.startswith(f"{key}-again") for known in keys)
        keys.append(f"{key}-again-{again}" if again else key)
    return keys
