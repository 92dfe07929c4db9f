"""`shiftscope audit`: all placements of one classifier, or of two to compare."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.auditing import audit, compare, equivariance, worst_case
from shiftscope.data import read_class_map
from shiftscope.errors import Interrupted, ShiftscopeError, UsageError, require
from shiftscope.models.sources import NO_OPTIONS, SourceOptions, check_source
from shiftscope.progress import Progress
from shiftscope.protocols import Protocol, protocol_named
from shiftscope.reporting import audit_figures, save_figure
from shiftscope.reporting.audit_figures import audit_figure_names
from shiftscope.results import Audit, Equivariance, WorstCase
from shiftscope.results.image_table import write_csv
from shiftscope.runs.claim import IMAGES
from shiftscope.runs.outputs import figure_files, new_files, record_files, require_new, require_new_table
from shiftscope.runs.unfinished import UnfinishedAudit
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.load_inputs import ModelWithData, open_model
from shiftscope.workflows.requirements import NONE, Requirements

COMPARISON = "comparison.json"

FIELDS = ("middle_accuracy", "worst_case_accuracy")
"""Metrics of `audit_worst_case`."""


def audit_model(source: str, overrides: dict[str, Any], *, against: str | None = None, out: Path | None = None,
                csv: Path | None = None, overwrite: bool = False, resume: bool = False, device: str = "auto",
                loading: SourceOptions = NO_OPTIONS, max_shift: int | None = None, step: int = 1,
                protocol: str | None = None, class_map: Path | None = None,
                requirements: Requirements = NONE, progress: Progress, **options: Any) -> dict[str, Any]:
    """Audit a classifier; with `against`, audit another one on the same images and compare the two.

    Args:
        source: see `load_model`; `against` likewise.
        loading: further arguments of `load_model`. Weights are those of `source`, the others of both.
        overrides: fields of `DataSettings` that the user set.
        out: folder for records, figures and `images.csv`; records of `against` are in its subfolder "against".
        resume: continue the audit that was stopped or killed before it wrote its results into `out`.
        csv: file for the table of all images, of both models; also written if stopped by a signal.
        max_shift, step: which placements, see `Placement`.
        protocol: name of a published evaluation, which sets image sizes and placements.
        class_map: file that names the output of each class, see `read_class_map`.
        requirements: checked as far as possible before the audit; they are applied by the caller.
        options: further arguments of `audit`: engine, split, sample, seed, expected, output_type.

    Returns:
        {"audit": Audit, "against": Audit or None, "comparison": dict or None}.

    Raises:
        UsageError, OutputError: if a file in `out` exists, or `out` cannot be written; raised first.
        Interrupted: if stopped by a signal; the audit so far is in `out` and marked partial.
        CheckpointError, DataError, UsageError: see `open_model` and `audit`.
    """
    published = _published(protocol, {**overrides, "max_shift": max_shift, "step": step})
    stores = _stores(out, against is not None, resume=resume, overwrite=overwrite)
    ours = set().union(*(store.results() for store in stores))
    if out is not None:
        require_new(out, sorted({*_record_files(against is not None)} - ours), overwrite=overwrite)
    if csv is not None:
        require_new_table(csv, overwrite=overwrite)
    requirements.check_files()
    models = _open_models(source, against, loading, requirements, overrides=overrides, class_map=class_map,
                          protocol=published, device=device, progress=progress)
    figures = figure_files(*audit_figure_names([(model.name, model.trained) for model in models]))
    audits: list[Audit] = []
    profiles: list[Equivariance] = []
    stop = StopFlag()
    with new_files(out, sorted({*figures} - ours), overwrite=overwrite), stop.listening(), ExitStack() as opened:
        for number, model in enumerate(models):
            store = opened.enter_context(stores[number]) if stores else None
            placement = model.placement.narrowed(max_shift=max_shift, step=step)
            audits.append(audit(model.model, model.data, placement=placement, protocol=protocol,
                                validation=model.validation, name=model.name, trained=model.trained, stop=stop,
                                store=store, progress=progress, **model.outputs(), **options))
            if stop:
                break
            if out is not None:
                profiles += _profile(model, progress)
        comparison = compare(*audits) if len(audits) == 2 and not stop else None
        if out is not None:
            progress.note("drawing figures")
            _begin_results(stores[0], out, {*_record_files(against is not None), *figures})
            _save(audits, profiles, comparison, out)
            for store in () if stop else stores:
                store.finish()
    if csv is not None:
        write_csv(audits, csv)
    if stop:
        kept = (f"the results so far are in {out}, marked partial; continue with --resume" if out
                else "use --out to keep results")
        raise Interrupted(f"interrupted after {audits[-1].images:,} images; {kept}", stop.exit_code)
    return {"audit": audits[0], "against": audits[1] if against else None, "comparison": comparison}


def audit_worst_case(source: str, overrides: dict[str, Any], *, out: Path | None = None, overwrite: bool = False,
                     class_map: Path | None = None, device: str = "auto", loading: SourceOptions = NO_OPTIONS,
                     max_shift: int | None = None, step: int = 1, protocol: str | None = None, progress: Progress,
                     **options: Any) -> WorstCase:
    """Compute only the worst-case accuracy of a classifier, see `worst_case`; the record is written into `out`.

    Args:
        source, overrides, out, class_map, loading, max_shift, step: see `audit_model`.
        protocol: see `audit_model`; only one whose metrics are computed.
        options: further arguments of `worst_case`: engine, split, seed, output_type.

    Raises:
        UsageError, OutputError, Interrupted, CheckpointError, DataError: see `audit_model`.
    """
    published = _published(protocol, {**overrides, "max_shift": max_shift, "step": step})
    other = [name for name, field in (published.metrics if published else {}).items() if field not in FIELDS]
    if other:
        raise UsageError(f"--only worst-case does not compute {other[0]}, a metric of the protocol {protocol}: leave "
                         "out one of the two")
    if out is not None:
        require_new(out, record_files("."), overwrite=overwrite)
    [model], stop = _open_models(source, None, loading, NONE, overrides=overrides, class_map=class_map,
                                 protocol=published, device=device, progress=progress), StopFlag()
    with new_files(out, overwrite=overwrite), stop.listening():
        found = worst_case(model.model, model.data, placement=model.placement.narrowed(max_shift=max_shift, step=step),
                           validation=model.validation, name=model.name, trained=model.trained, stop=stop,
                           progress=progress, **model.outputs(), **options)
        if out is not None:
            found.save(out)
    if stop:
        kept = f"the results so far are in {out}, marked partial" if out else "use --out to keep results"
        raise Interrupted(f"interrupted after {found.images:,} images; {kept}", stop.exit_code)
    return found


def _published(protocol: str | None, given: dict[str, Any]) -> Protocol | None:
    """Return the protocol of a name, which the given options must not contradict."""
    published = None if protocol is None else protocol_named(protocol)
    if published is not None:
        published.check_options(given)
    return published


def _stores(out: Path | None, against: bool, *, resume: bool, overwrite: bool) -> list[UnfinishedAudit]:
    """Return the stores of finished images of one or two models; empty without `out`."""
    require(not (resume and overwrite), "resume and overwrite", True, "not both given")
    if out is None:
        if resume:
            raise UsageError("--resume needs the folder of the audit to continue; give it with --out")
        return []
    stores = [UnfinishedAudit(folder, resume=resume, overwrite=overwrite)
              for folder in ((out, out / "against") if against else (out,))]
    if resume and not stores[0].exists:
        raise UsageError(f"{out} holds no unfinished audit to resume; leave out --resume, or give the folder of the "
                         "audit with --out")
    for store in stores:
        store.check()
    return stores


def _begin_results(store: UnfinishedAudit, out: Path, names: set[str]) -> None:
    """Remove the results of the command that is continued, and store the names of those that will be written."""
    for name in store.results():
        if name in names and files.is_plain(out / name):
            (out / name).unlink()
    store.list_results(names)


def _profile(model: ModelWithData, progress: Progress) -> list[Equivariance]:
    """Return the equivariance of each layer; empty, with a note, if it cannot be measured."""
    try:
        return [equivariance(model.model, model.data, placement=model.placement, name=model.name, progress=progress)]
    except ShiftscopeError as error:
        progress.note(f"no layer profile of {model.name}: {error}")
        return []


def _record_files(against: bool) -> list[str]:
    folders = (".", "against") if against else (".",)
    return [*record_files(*folders, *(f"{folder}/equivariance" for folder in folders)), IMAGES,
            *([COMPARISON] if against else [])]


def _save(audits: list[Audit], profiles: list[Equivariance], comparison: dict[str, Any] | None, out: Path) -> None:
    folders = (out, out / "against")
    for result, folder in zip(audits, folders, strict=False):
        result.save(folder)
    for profile, folder in zip(profiles, folders, strict=False):
        profile.save(folder / "equivariance")
    write_csv(audits, out / IMAGES)
    for name, figure, _ in audit_figures(audits, profiles):
        save_figure(figure, out, name)
    if comparison is not None:
        files.write_json(out / COMPARISON, comparison)


def _open_models(source: str, against: str | None, loading: SourceOptions, requirements: Requirements, *,
                 class_map: Path | None, protocol: Protocol | None, **options: Any) -> list[ModelWithData]:
    """Return one or two models with their images, which have labels if a threshold needs them."""
    second: SourceOptions = {**loading, "weights": None}
    sources = ((source, loading), *(((against, second),) if against else ()))
    for name, how in sources:
        check_source(name, **how)
    classes, models = None if class_map is None else read_class_map(class_map), []
    for name, how in sources:
        models.append(open_model(name, class_map=classes, protocol=protocol, **options, **how))
        requirements.check_inputs(models[-1].data, models[0].name)
        if protocol is not None:
            protocol.check_input(models[-1].info.input_size, models[-1].placement.canvas, models[-1].name)
    return models
