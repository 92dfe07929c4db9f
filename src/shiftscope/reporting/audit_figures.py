"""All figures of one or several audits, with file names and captions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import audit_title, check_audits
from shiftscope.reporting.audit_histogram import correct_placements_histogram
from shiftscope.reporting.audit_images import inconsistent_images
from shiftscope.reporting.audit_maps import accuracy_map, agreement_map, class_maps, phase_tables
from shiftscope.reporting.equivariance import layer_profile
from shiftscope.reporting.formatting import model_title
from shiftscope.results import Audit, Equivariance
from shiftscope.runs import slug


class NamedFigure(NamedTuple):
    """A figure with its file name and its caption."""

    name: str
    figure: Figure
    caption: str


def audit_figures(audits: Sequence[Audit], profiles: Sequence[Equivariance] = ()) -> list[NamedFigure]:
    """Draw all figures of audits, beginning with those that show all models side by side.

    Args:
        audits: one per model; two or three maps fit on a page.
        profiles: layer profiles, of the same models or others.

    Returns:
        accuracy-map, placements-right, agreement-map, then for each model class-maps-NAME, changes-NAME,
        remainders-NAME, and for each profile layers-NAME. Without labels only agreement-map, changes-NAME and layers.

    Raises:
        UsageError: if there are no audits.
    """
    check_audits(audits)
    return list(_figures(audits, profiles))


def _figures(audits: Sequence[Audit], profiles: Sequence[Equivariance]) -> Iterator[NamedFigure]:
    labeled = all(audit.labeled for audit in audits)
    if labeled:
        yield NamedFigure("accuracy-map", accuracy_map(audits),
                          "Accuracy at every position of the image on its canvas.")
        yield NamedFigure("placements-right", correct_placements_histogram(audits),
                          "Fraction of placements with a correct prediction. The last bar is the worst-case accuracy.")
    yield NamedFigure("agreement-map", agreement_map(audits),
                      "Fraction of images whose prediction at a position is that at the middle one.")
    for audit, key in zip(audits, _keys([_name(audit.model, audit.trained) for audit in audits]), strict=True):
        title = audit_title(audit)
        if labeled:
            yield NamedFigure(f"class-maps-{key}", class_maps(audit), f"{title}: accuracy by position for each class.")
        if len(audit.shown_index):
            yield NamedFigure(f"changes-{key}", inconsistent_images(audit),
                              f"{title}: predictions by position for the images with the lowest consistency.")
        if labeled:
            yield NamedFigure(f"remainders-{key}", phase_tables(audit),
                              f"{title}: accuracy by the offset modulo 2, 4 and 8.")
    for profile, key in zip(profiles, _keys([profile.model for profile in profiles]), strict=True):
        yield NamedFigure(f"layers-{key}", layer_profile(profile),
                          f"{model_title(profile.model)}: equivariance error of each layer.")


def audit_figure_names(subjects: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of all figures that audits and layer profiles may have.

    Args:
        subjects: (model, training placement) of each audit, in order.

    Example:
        >>> audit_figure_names([("net", "centered")])[3:]
        ['class-maps-net-centered', 'changes-net-centered', 'remainders-net-centered', 'layers-net']
    """
    own = [f"{kind}-{key}" for key in _keys([_name(*subject) for subject in subjects])
           for kind in ("class-maps", "changes", "remainders")]
    layers = [f"layers-{key}" for key in _keys([model for model, _ in subjects])]
    return ["accuracy-map", "placements-right", "agreement-map", *own, *layers]


def _name(model: str, trained: str) -> str:
    return f"{model}-centered" if trained == "centered" else model


def _keys(models: Sequence[str]) -> list[str]:
    """Unique file names."""
    keys: list[str] = []
    for model in models:
        key = slug(model)
        again = sum(known == key or known.startswith(f"{key}-again") for known in keys)
        keys.append(f"{key}-again-{again}" if again else key)
    return keys
