"""What is said at the end of a repair: what was measured, and what was proven."""

from torch import nn

from shiftscope.dense import prove_invariance
from shiftscope.errors import ShiftscopeError
from shiftscope.placement import Placement
from shiftscope.results import Audit


def repair_findings(model: nn.Module, before: Audit, after: Audit, placement: Placement) -> list[str]:
    """Return sentences on how a repaired model depends on position.

    "Exact" is said only where invariance was proven and no audited prediction contradicts it.

    Args:
        model: the repaired one.
        before, after: audits of the model and of the repaired one, on the same images.
        placement: that of the audits.
    """
    return [_measured(before, after), *_proven(model, after, placement)]


def _measured(before: Audit, after: Audit) -> str:
    which = "a sample of" if after.sampled else "all"
    return (f"measured on {after.images:,} {after.split} images at {which} {after.placements:,} placements (mode "
            f"{after.mode}): the prediction is the same at every placement for {_same(after):,} of {after.images:,} "
            f"images (before: {_same(before):,}), consistency {_percent(after.consistency)} (before: "
            f"{_percent(before.consistency)}), mean accuracy {_percent(after.mean_accuracy)} (before: "
            f"{_percent(before.mean_accuracy)})")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _same(audit: Audit) -> int:
    return round(audit.unanimity * audit.images)


def _proven(model: nn.Module, after: Audit, placement: Placement) -> list[str]:
    """Say whether invariance is proven; nothing where predictions change by much more than rounding explains."""
    try:
        prove_invariance(model, placement, (after.shown_images.shape[1], *placement.image))
    except ShiftscopeError as refusal:
        why = str(refusal)
    except Exception as error:  # a foreign model may raise anything while it is traced
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    else:
        if _same(after) == after.images:
            return [f"exactly invariant in mode {after.mode}: proven from its operations for every image, up to "
                    "rounding"]
        return [f"its operations are invariant in mode {after.mode}, but rounding changed predictions of "
                f"{after.images - _same(after):,} images: a choice within it is near a tie, or its output depends on "
                "other images or random numbers"]
    if _same(after) == after.images:
        return [f"no placement changed a prediction on these images; for other images it is not proven ({why})"]
    return []
