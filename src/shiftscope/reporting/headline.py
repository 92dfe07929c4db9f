"""The main findings of a report as sentences: from audits of all placements if there are any, else from evaluations."""

from collections.abc import Iterable, Sequence

import numpy as np

from shiftscope.reporting.audit_grid import audit_title
from shiftscope.reporting.controls import ControlCell, mean_and_spread
from shiftscope.reporting.controls import headline as sampled_headline
from shiftscope.reporting.formatting import is_finite, model_title, percent, points
from shiftscope.reporting.selection import first_seeds, group_comparable
from shiftscope.results import Audit, Evaluation

FEW = 100
"""Below this number of images a report states the effect of a single image on the accuracy."""

_Z_95 = 1.959963984540054  # a normal distribution has 95 % of its mass within this many standard deviations

Seeds = list[Audit]
"""Audits of one model and training placement."""


def headline(audits: Sequence[Audit], cells: Sequence[ControlCell] = (),
             evaluations: Sequence[Evaluation] = ()) -> list[str]:
    """Return the main findings, the most important first.

    Accuracies are means over all audited placements, with a 95 % confidence interval over the images, or with the
    standard deviation over the seeds. Without audits they are those of `cells`, from one random placement per image.

    >>> headline([])
    []
    """
    groups = [[audits[index] for index in group] for group in group_comparable(audits)]
    models = _by_model(max(groups, key=lambda group: len(_by_model(group)))) if groups else []
    if not models and any(not audit.labeled for audit in audits):
        return _unlabeled(first_seeds(audits))
    if not models:
        return _without_audits(cells, evaluations)
    sentences = [_ranking(models), _worst_case(_ranked(models)[0]), *map(_drop, models), *_costs(models),
                 few_images(models[0][0].images, models[0][0].split)]
    return [sentence for sentence in sentences if sentence]


def _unlabeled(audits: Sequence[Audit]) -> list[str]:
    """Sentences about audits of images without labels."""
    sentences = []
    for audit in audits:
        where = f"{audit.placements:,} {'sampled ' if audit.sampled else ''}placements"
        changing = round((1 - audit.unanimity) * audit.images)
        sentences.append(f"The prediction of the {audit_title(audit)} depends on position for {changing:,} of "
                         f"{audit.images:,} images ({where}); two random placements of an image get the same label "
                         f"with probability {percent(audit.consistency)}.")
    return [*sentences, "The images have no labels, so it is unknown which predictions are correct."]


def few_images(images: int, split: str) -> str:
    """Return a sentence about the size of one image if there are fewer than `FEW` images.

    >>> few_images(9, "test")
    'There are only 9 test images: one image is 11.1 points of accuracy at one placement, so differences of a few \
images can be chance.'
    >>> few_images(100, "test")
    ''
    """
    if not 0 < images < FEW:
        return ""
    are, plural = ("is", "") if images == 1 else ("are", "s")
    return (f"There {are} only {images} {split} image{plural}: one image is {points(1 / images)} of accuracy at one "
            "placement, so differences of a few images can be chance.")


def difference_interval(one: Audit, other: Audit) -> tuple[float, float, float]:
    """Return (difference, low, high): mean accuracy of `one` minus that of `other`, with its 95 % confidence interval.

    The images are the same, so the interval is that of the mean difference per image (normal approximation). An
    audit of more images counts only those that both have.
    """
    images = min(one.images, other.images)
    fractions = [audit.correct_counts[:images] / audit.placements for audit in (one, other)]
    differences = fractions[0] - fractions[1]
    half = _Z_95 * float(differences.std(ddof=1)) / np.sqrt(images) if images > 1 else 1.0
    mean = float(differences.mean())
    return mean, max(-1.0, mean - half), min(1.0, mean + half)


def _by_model(audits: Iterable[Audit]) -> list[Seeds]:
    """The audits of each model and training placement; models without accuracies are left out."""
    groups: dict[tuple[str, str], Seeds] = {}
    for audit in audits:
        if is_finite(audit.mean_accuracy):
            groups.setdefault((audit.model, audit.trained), []).append(audit)
    return list(groups.values())


def _mean(seeds: Seeds, name: str) -> float:
    return mean_and_spread([getattr(audit, name) for audit in seeds])[0]


def _ranked(models: Sequence[Seeds]) -> list[Seeds]:
    """The models by falling mean accuracy, without those trained centered if there are others."""
    shown = [seeds for seeds in models if seeds[0].trained != "centered"] or list(models)
    return sorted(shown, key=lambda seeds: -_mean(seeds, "mean_accuracy"))


def _value(seeds: Seeds, name: str) -> str:
    """A metric in percent with its uncertainty in parentheses."""
    mean, spread = mean_and_spread([getattr(audit, name) for audit in seeds])
    if spread is not None:
        return f"{percent(mean)} (± {100 * spread:.1f}, standard deviation over {len(seeds)} seeds)"
    interval = seeds[0].intervals.get(name)
    return percent(mean) + (f" (95 % confidence interval {100 * interval[0]:.1f} to {percent(interval[1])})"
                            if interval else "")


def _ranking(models: Sequence[Seeds]) -> str:
    ranked = _ranked(models)
    audit = ranked[0][0]
    first = "the first " if audit.partial else ""
    where = (f"{audit.placements:,} sampled placements" if audit.sampled else
             f"all {audit.placements:,} placements" if audit.placements > 1 else "the only placement")
    lead = f"{_lead(*ranked[:2])}" if len(ranked) > 1 else ""
    return (f"The {audit_title(audit)} has {'the highest' if lead else 'a'} mean accuracy over {where} of {first}"
            f"{audit.images:,} {audit.split} images: {_value(ranked[0], 'mean_accuracy')}{lead}.")


def _lead(best: Seeds, second: Seeds) -> str:
    title = audit_title(second[0])
    if len(best) > 1 or len(second) > 1:
        return f", {points(_mean(best, 'mean_accuracy') - _mean(second, 'mean_accuracy'))} more than the {title}"
    mean, low, high = difference_interval(best[0], second[0])
    interval = f"{100 * low:.1f} to {100 * high:.1f}"
    return (f", {points(mean)} ({interval}) more than the {title}" if low > 0 else
            f". The difference from the {title}, {points(mean)} ({interval}), can be chance")


def _worst_case(seeds: Seeds) -> str:
    if seeds[0].placements < 2:
        return ""
    return (f"The {audit_title(seeds[0])} is correct at every {'audited ' if seeds[0].sampled else ''}placement for "
            f"{_value(seeds, 'worst_case_accuracy')} of the images.")


def _drop(seeds: Seeds) -> str:
    """The drop of a model that was trained on centered images only."""
    centered, mean = (_mean(seeds, name) for name in ("middle_accuracy", "mean_accuracy"))
    if seeds[0].trained != "centered" or not is_finite(centered) or mean >= centered:
        return ""
    return (f"Trained on centered images only, the {model_title(seeds[0].model)} drops from {percent(centered)} on "
            f"centered images to {percent(mean)} averaged over the placements.")


def _costs(models: Sequence[Seeds]) -> list[str]:
    """The cost of random placements: centered training and test against random training and all placements."""
    known = {(seeds[0].model, seeds[0].trained): seeds for seeds in models}
    pairs = [(known[model, "centered"], seeds) for (model, trained), seeds in known.items()
             if trained == "random" and (model, "centered") in known]
    return [f"Trained on random placements, the {model_title(random[0].model)} has "
            f"{points(_mean(centered, 'middle_accuracy') - _mean(random, 'mean_accuracy'))} less than with centered "
            "images in training and test."
            for centered, random in pairs if _mean(centered, "middle_accuracy") > _mean(random, "mean_accuracy")]


def _without_audits(cells: Sequence[ControlCell], evaluations: Sequence[Evaluation]) -> list[str]:
    sentences, images = sampled_headline(cells), [one.images for one in evaluations if one.split == "test"]
    if sentences and images:
        sentences.append(f"These accuracies are of one random placement for each of {images[0]:,} test images; an "
                         "audit evaluates all placements.")
    return sentences + [few for few in (few_images(count, "test") for count in images[:1]) if few]
