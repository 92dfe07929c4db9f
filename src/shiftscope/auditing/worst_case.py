"""The worst-case accuracy alone: an image is left at its first error."""

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from shiftscope.auditing.audit import as_dataset, audit_inputs
from shiftscope.auditing.engines import AuditInputs, EngineChoice, brute_force, choose_engine, repeated_choice
from shiftscope.auditing.model_checks import check_sample
from shiftscope.auditing.self_check import border_placements, difference, passed
from shiftscope.auditing.sweep import Stop, stop_requested
from shiftscope.data.base import Dataset, Split
from shiftscope.data.class_map import ClassMap, Outputs, with_output_labels
from shiftscope.devices import tf32
from shiftscope.distributed import group
from shiftscope.errors import Interrupted, UsageError
from shiftscope.evaluation.brute import MEMORY, BruteForceEngine
from shiftscope.evaluation.predictions import output_count
from shiftscope.generators import seeded
from shiftscope.metrics import rounding_tolerance, wilson_interval
from shiftscope.models.adapt import Normalization, adapt, title_of
from shiftscope.models.forward import device_and_dtype
from shiftscope.models.select_output import OutputKey
from shiftscope.modules import Classifier, reports_model_errors
from shiftscope.outputs import OutputType, top_two
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import WorstCase
from shiftscope.results.audit import SelfCheck
from shiftscope.settings import VALIDATION_IMAGES

COMPARED = 32
"""Images whose last outputs are compared with the plain model's."""

BLOCK = 64
"""Images that are searched together if memory allows it."""


@reports_model_errors
def worst_case(model: Classifier, data: Any, *, placement: Placement | None = None, engine: str = "auto",
               split: Split = "test", validation: int = VALIDATION_IMAGES, limit: int | None = None,
               memory: int = MEMORY, normalize: Normalization | None = None,
               preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
               trained: str = "unknown", output_type: OutputType | None = None, select_output: OutputKey | None = None,
               class_map: ClassMap | None = None, output_names: Sequence[str] | None = None,
               wordnet_ids: Sequence[str] | None = None,
               seed: int = 0, progress: Progress | None = None, stop: Stop | None = None) -> WorstCase:
    """Compute the fraction of images with a correct prediction at every placement, and nothing else.

    Brute force leaves an image at its first error. It begins at the middle and the placements at which other images
    failed, then come corners, edges and the others. The dense engine computes all placements of an image together.

    Args:
        See `audit`.

    Raises:
        UsageError, ShiftscopeError, Interrupted: see `audit`; also if images have no labels, or several processes
            share the work.

    Example:
        >>> from torch import nn
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", license="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 7, 2))
        >>> worst_case(model, data, placement=Placement(image=(4, 4), canvas=(6, 7))).worst_case_accuracy
        0.5
    """
    begun = time.perf_counter()
    if group().size > 1:
        raise UsageError(f"the worst case alone is computed in one process, got {group().size}: leave out --devices")
    data = as_dataset(data)
    data.require_labels("the worst-case accuracy")
    placement, title = placement or default_placement(data.shape), name or title_of(model)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(data.shape[0], *placement.canvas),
                     select_output=select_output, output_type=output_type)
    device, _ = device_and_dtype(prepared)
    with tf32(allowed=False), seeded([device], seed):
        count = output_count(prepared, data.split_images(split, validation), placement)
        outputs = Outputs(count=count, names=output_names, wordnet_ids=wordnet_ids, model=title)
        data = with_output_labels(data, outputs, class_map)
        inputs = audit_inputs(prepared, data, placement, split, validation, limit, seed, memory)
        checks = check_sample(inputs.check(), output_type)
        choice = _at_all_placements(choose_engine(inputs, engine, checks.doubts, checks.seconds), inputs)
        search = Search(choice)
        search.run(progress or SilentProgress(), f"worst case of {title} ({split}), {choice.engine.name}", stop)
        notes = list(checks.doubts)
        if not passed(check := search.self_check()) and choice.engine.name == "dense" and not checks.doubts:
            notes.append("the dense engine's outputs differ from the plain model's: all was computed by brute force")
            choice = _at_all_placements(brute_force(inputs, f"brute force, because {notes[-1]}"), inputs)
            search = Search(choice)
            search.run(progress or SilentProgress(), f"worst case of {title} ({split}), brute", stop)
            check = search.self_check()
    return _record(search, choice, data, check, notes=notes, seconds=time.perf_counter() - begun, model=title,
                   split=split, trained=trained)


def _at_all_placements(choice: EngineChoice, inputs: AuditInputs) -> EngineChoice:
    """Return the choice without a sample of the placements."""
    return repeated_choice(inputs, choice.settings() | {"sample": None}) if choice.inputs.sampled else choice


class Search:
    """Searches the first error of each image.

    Args:
        choice: engine and inputs; all placements.

    Attributes:
        count: images that are done.
        failed, middle: bool (N,), True for images with an error, and with a correct prediction in the middle.
        columns, predictions: int64 (N,), placement and prediction of the error; of the middle if there is none.
        computed: number of predictions.
    """

    def __init__(self, choice: EngineChoice):
        self.engine, self.inputs = choice.engine, choice.inputs
        images, placements = len(self.inputs.images), len(self.inputs.offsets)
        self.failed, self.middle = (torch.zeros(images, dtype=torch.bool) for _ in range(2))
        self.columns = torch.full((images,), self.inputs.middle)
        self.predictions = torch.zeros(images, dtype=torch.int64)
        self.count = self.computed = 0
        self.errors = torch.zeros(placements)
        """Images that failed at each placement."""
        self.rank = torch.zeros(placements)
        for border in border_placements(self.inputs.offsets):
            self.rank[border] += 1
        self._outputs: dict[int, tuple[int, torch.Tensor]] = {}

    def run(self, progress: Progress, title: str, stop: Stop | None) -> None:
        """Search all images; Ctrl-C and `stop` end the search between two blocks of images.

        Raises:
            Interrupted: before the first block was done.
        """
        images = self.inputs.images
        by_pairs = isinstance(self.engine, BruteForceEngine)
        block = min(BLOCK, 4 * self.engine.images_per_call) if by_pairs else self.engine.images_per_call
        task = progress.task(title, len(images))
        try:
            while self.count < len(images) and not stop_requested(stop):
                index = torch.arange(self.count, min(self.count + block, len(images)))
                pixels = images.gather(index).to(device_and_dtype(self.inputs.model)[0])
                (self._by_pairs if by_pairs else self._together)(index, pixels)
                self.count += len(index)
                task.advance(len(index), accuracy=1 - float(self.failed[:self.count].double().mean()))
        except KeyboardInterrupt:
            pass
        finally:
            task.close()
        if self.count == 0:
            code = getattr(stop, "exit_code", 0) or 130
            raise Interrupted(f"{title} stopped before its first images were done", code)

    def _order(self) -> torch.Tensor:
        """Return the placements in the order of the search."""
        priority = 2 * self.errors + self.rank / 2
        priority[self.inputs.middle] = torch.inf
        return priority.argsort(descending=True, stable=True)

    def _by_pairs(self, index: torch.Tensor, pixels: torch.Tensor) -> None:
        engine, order = cast("BruteForceEngine", self.engine), self._order()
        strips, begin, alive = engine.strips(pixels), 0, torch.arange(len(index))
        while len(alive) and begin < len(order):
            most = 1 if begin == 0 else max(1, min(begin, engine.chunk // len(alive)))
            columns = order[begin:begin + most]
            pairs = torch.cartesian_prod(alive, columns).to(engine.device)
            outputs = engine.of_pairs(pixels, pairs, strips=strips).unflatten(0, (len(alive), len(columns)))
            alive = alive[~self._add(index[alive], columns, outputs)]
            begin += most

    def _together(self, index: torch.Tensor, pixels: torch.Tensor) -> None:
        self._add(index, torch.arange(len(self.inputs.offsets)), self.engine.logits(pixels))

    def _add(self, index: torch.Tensor, columns: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Add outputs (n, m, K) of images at m placements; return which images have an error among them, (n,)."""
        classes, best, _ = top_two(outputs if outputs.dtype.itemsize >= 4 else outputs.float())
        predictions = classes.masked_fill(~best.isfinite(), -1).cpu()
        wrong = predictions != self.inputs.images.labels[index][:, None]
        failed, first = wrong.any(1), wrong.byte().argmax(1)
        self.computed += wrong.numel()
        middle = (columns == self.inputs.middle).nonzero()[:, 0]
        if len(middle):
            self.middle[index] = ~wrong[:, middle[0]]
            first = torch.where(failed, first, middle[0])
        changed = failed if not len(middle) else torch.ones_like(failed)
        rows = torch.arange(len(index))
        self.columns[index[changed]] = columns[first[changed]]
        self.predictions[index[changed]] = predictions[rows, first][changed]
        self.failed[index] = failed
        self.errors += torch.bincount(columns[first[failed]], minlength=len(self.errors))
        for row in changed.nonzero()[:, 0].tolist():
            if int(index[row]) < COMPARED:
                self._outputs[int(index[row])] = int(columns[first[row]]), outputs[row, first[row]].detach().cpu()
        return failed

    def self_check(self) -> SelfCheck:
        """Compare the outputs at the errors of the first images, or in their middle, with the plain model's."""
        check, plain = self.inputs.check(1), []
        known = {image: found for image, found in sorted(self._outputs.items()) if image < self.count}
        for part in torch.tensor(list(known)).split(8):
            columns = torch.tensor([known[image][0] for image in part.tolist()])
            plain.append(check.at(part, columns).cpu())
        theirs = torch.cat(plain)
        ours = torch.stack([outputs for _, outputs in known.values()])
        return SelfCheck(placements=len(ours), max_abs_logit_difference=difference(ours, theirs),
                         tolerance=rounding_tolerance(theirs, device_and_dtype(self.inputs.model)[1]))


def _record(search: Search, choice: EngineChoice, data: Dataset, check: SelfCheck, *, notes: list[str],
            **fields: Any) -> WorstCase:
    inputs, count = search.inputs, search.count
    placements, every = len(inputs.offsets), len(inputs.images)
    hits = {"worst_case_accuracy": ~search.failed[:count], "middle_accuracy": search.middle[:count]}
    notes = [*notes, f"only the worst case: {search.computed:,} of {count * placements:,} predictions were computed; "
                     "mean accuracy, consistency and unanimity are unknown"]
    if count < every:
        notes.append(f"interrupted: the figures are for the first {count:,} of {every:,} images")
    return WorstCase(
        dataset=data.name, synthetic=data.synthetic, class_names=list(data.class_names), images=count,
        placements=placements, mode=inputs.placement.mode, placement=inputs.placement.to_dict(),
        computed=search.computed, partial=count < every, engine="brute" if choice.kind == "brute" else "dense",
        reason=choice.reason, device=str(device_and_dtype(inputs.model)[0]), self_check=check, notes=notes,
        intervals={name: wilson_interval(int(values.sum()), count) for name, values in hits.items()},
        labels=inputs.images.labels[:count].numpy(), failed=search.failed[:count].numpy(),
        error_offset=inputs.offsets[search.columns[:count]].numpy(),
        error_prediction=search.predictions[:count].numpy(),
        **{name: float(values.double().mean()) for name, values in hits.items()}, **fields)
