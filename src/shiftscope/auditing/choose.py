"""Which engine audits a model, and why."""

from dataclasses import dataclass

import torch

from shiftscope.auditing.engine import Engine
from shiftscope.auditing.proven import ProofEngine
from shiftscope.auditing.selfcheck import check_now, fastest, passed
from shiftscope.auditing.subject import Subject
from shiftscope.dense import NotInvariant
from shiftscope.dense.phases import build_engine
from shiftscope.distributed import from_first
from shiftscope.errors import ShiftscopeError, reason_of
from shiftscope.layers import (
    LearnedPolyphase2d,
    PhaseAverage,
    PhaseToOrigin,
    PlacementAverage,
    PolyphaseDownsample2d,
    Recenter,
)
from shiftscope.results.audit import SelfCheck

TRIED = 16
"""Images that the dense engine is tried on before the long work: enough for it to be at its speed."""

CLEARLY = 0.5
"""Brute force is taken where it needs less than this share of the dense engine's time: trials are noisy, and the
ratio is usually far from 1."""

FASTER = 1.2
"""Smaller ratios of two times that were measured once are no difference."""

MEANT = (LearnedPolyphase2d, PhaseAverage, PhaseToOrigin, PlacementAverage, PolyphaseDownsample2d, Recenter)
"""Layers of models that are meant to be indifferent to place: their owners want to know where the proof of it ends."""


@dataclass(frozen=True)
class Choice:
    """An engine, what it computes, and a sentence that says why it was chosen."""

    engine: Engine
    subject: Subject
    reason: str


def choose_engine(subject: Subject, asked: str, doubts: list[str]) -> Choice:
    """Choose one placement for all where no other can change the answer; else the dense engine, where it can be built,
    equals the plain model on a trial and is faster; else brute force.

    Args:
        asked: "auto", "dense" or "brute".
        doubts: ways in which the plain model contradicts itself: nothing can then equal it.

    Raises:
        ShiftscopeError: "dense" was asked for and is not possible: the layer or the difference is named.
    """
    if asked == "brute":
        return brute_force(subject, "brute force was asked for")
    single = len(subject.offsets) == 1
    if asked == "auto" and single:
        return brute_force(subject, "brute force, because there is a single placement, which is one pass anyway")
    choice, remark = (None, "") if doubts or single else _orbit(subject)
    if choice is not None:
        return choice
    try:
        return _dense(subject, asked, doubts)
    except ShiftscopeError as refusal:
        why, cause = str(refusal), refusal
    except Exception as error:  # a foreign model may raise anything while it is traced
        why, cause = f"the dense engine raised {type(error).__name__}: {reason_of(error)}", error
    why += remark
    if asked == "dense":
        raise ShiftscopeError(f"engine 'dense' is not possible: {why}; use engine 'auto' or 'brute'") from cause
    return brute_force(subject, f"brute force, for {why}")


def choose_together(subject: Subject, asked: str, doubts: list[str]) -> Choice:
    """Choose in the first process of a group, for trials take other times elsewhere, and do the same in all others."""
    mine: list[Choice] = []

    def choose() -> tuple[bool, str, str]:
        mine.append(choose_engine(subject, asked, doubts))
        return isinstance(mine[0].engine, ProofEngine), mine[0].engine.name, mine[0].reason

    orbit, name, reason = from_first(choose)
    if mine:
        return mine[0]
    if name == "brute":
        return brute_force(subject, reason)
    build = ProofEngine if orbit else lambda of: build_engine(of.model, of.placement, of.images.shape)
    return Choice(build(subject), subject, reason)


def _orbit(subject: Subject) -> tuple[Choice | None, str]:
    """Return the engine that computes each image once; where there is none, what to say about it."""
    try:
        engine = ProofEngine(subject)
        check, _ = check_now(engine, subject.check(TRIED))
    except NotInvariant as refusal:
        meant = any(isinstance(module, MEANT) for module in subject.model.modules())
        return None, f"; {refusal}" if meant else ""
    except Exception as error:  # a foreign model may raise anything while it is traced
        return None, f"; the proof of invariance raised {type(error).__name__}: {reason_of(error)}"
    if not passed(check):
        return None, (f"; no placement should change the answer, but the logits of a random sample of "
                      f"{check['placements']} lie {check['max_abs_logit_difference']:.3g} apart, more than rounding "
                      f"explains ({check['tolerance']:.3g}): a choice within the model may be near a tie")
    return Choice(engine, subject, engine.reason), ""


def _dense(subject: Subject, asked: str, doubts: list[str]) -> Choice:
    if subject.sampled:
        raise ShiftscopeError("a sample of placements was asked for, and the dense engine computes all")
    if doubts:
        raise ShiftscopeError(doubts[0])
    engine = build_engine(subject.model, subject.placement, subject.images.shape)
    check, seconds = check_now(engine, subject.check(TRIED))
    if not passed(check):
        raise ShiftscopeError(apart(check))
    if asked == "dense":
        return Choice(engine, subject, "the dense engine was asked for")
    ratio = _brute_seconds(subject) / seconds
    if ratio < CLEARLY:
        raise ShiftscopeError(f"one pass for all {len(subject.offsets)} placements took {1 / ratio:.1f} times as long "
                              "on a trial")
    count = len(subject.offsets)
    pace = f"{ratio:.1f} times faster than" if ratio >= FASTER else "about as fast as"
    return Choice(engine, subject, f"one pass gives all {count} placements of an image, on a trial {pace} one by one")


def apart(check: SelfCheck) -> str:
    """Say that an engine is not the plain model."""
    return (f"the dense engine's logits lie {check['max_abs_logit_difference']:.3g} from the plain model's on a random "
            f"sample of {check['placements']}, more than rounding explains ({check['tolerance']:.3g})")


def brute_force(subject: Subject, reason: str) -> Choice:
    """Choose the plain model, with short cuts where they change nothing, at as many placements as it can afford."""
    subject = subject.affordable()
    engine = subject.brute()
    check = subject.check(1)
    image = subject.images.gather(check.sample.images).to(engine.device)
    check.found = {0: engine.of_pairs(image, _of_one(check.sample.columns[0].to(engine.device)))}
    return Choice(engine if passed(check.result()) else subject.brute(short_cuts=False), subject, reason)


def _brute_seconds(subject: Subject) -> float:
    """Return the seconds that brute force takes an image, estimated from one chunk of placements."""
    engine = subject.brute()
    count = min(engine.chunk, len(subject.offsets))
    image = subject.images.gather(torch.zeros(1, dtype=torch.int64)).to(engine.device)
    spread = torch.linspace(0, len(subject.offsets) - 1, count, device=engine.device).long()
    seconds = fastest(lambda: engine.of_pairs(image, _of_one(spread)))
    return seconds / count * len(subject.offsets)


def _of_one(placements: torch.Tensor) -> torch.Tensor:
    """Return pairs of a single image with each of `placements`."""
    return torch.stack((torch.zeros_like(placements), placements), 1)
