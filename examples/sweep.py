"""Find a good learning rate, weight decay and batch size for a small network.

A sweep with Optuna: each trial trains on synthetic garments and is evaluated on the validation split, never on the test
set. All trials are stored in a database, so that an interrupted sweep resumes when it is started again, and several
processes or machines can share one sweep. Writes a table (trials.csv) and a figure (sweep.png), and prints the test
accuracy of the best trial.

Usage: python examples/sweep.py [--trials 30] [--storage URL] [--data garments] [--model two-full] [--epochs 5]
       [--out sweep]

30 trials take about a minute on two cores. Needs Optuna: pip install "shiftscope[tune]". URL is any database of
SQLAlchemy, for instance postgresql://user@host/name; the default is a SQLite file in the folder of --out, which
processes of one machine can share.
"""

import argparse
import csv
import io
import math
import time
import warnings
from pathlib import Path

import matplotlib
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError

import shiftscope
from shiftscope import files, hashing

matplotlib.use("Agg")

STUDY = "small-network"
BEAT = 60
"""Seconds between signs of life of a trial that runs; one that gives none for three times as long counts as failed."""


def settings_of(trial: Trial, asked: argparse.Namespace) -> shiftscope.TrainSettings:
    """Return the settings that a trial tries."""
    return shiftscope.TrainSettings(
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        batch_size=trial.suggest_categorical("batch_size", [60, 125, 250]),
        epochs=asked.epochs, seed=asked.seed)


def try_one(trial: Trial, asked: argparse.Namespace, data: shiftscope.Dataset) -> float:
    """Train once and return the accuracy on the validation split after the last epoch."""
    # Each trial draws with a sampler of its own, so that processes that share a sweep do not try the same, and a
    # sweep that goes on tries what it would have tried without the break.
    trial.study.sampler = optuna.samplers.TPESampler(seed=hashing.stream(asked.seed, trial.number) % 2**32)
    settings = settings_of(trial, asked)
    model = shiftscope.models.build_model(asked.model, seed=asked.seed)
    result = shiftscope.train(model, data, settings=settings, name=asked.model)
    trial.set_user_attr("train_seconds", result.train_seconds)
    return result.history[-1]["val_accuracy"] or 0.0


def opened(url: str, tries: int = 10) -> optuna.Study:
    """Return the study in a database. Where several processes begin it at once, all but one must try again."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # Optuna may yet rename the options
            storage = optuna.storages.RDBStorage(url, heartbeat_interval=BEAT, grace_period=3 * BEAT)
        return optuna.create_study(study_name=STUDY, storage=storage, direction="maximize", load_if_exists=True)
    except DBAPIError:
        if tries == 1:
            raise
        time.sleep(0.5)
        return opened(url, tries - 1)


def begin(asked: argparse.Namespace) -> optuna.Study:
    """Open the sweep, or begin it where the database does not hold it yet."""
    asked.out.mkdir(parents=True, exist_ok=True)
    url = asked.storage or f"sqlite:///{asked.out / 'sweep.db'}"
    study = opened(url)
    told = {name: str(getattr(asked, name)) for name in ("data", "limit", "model", "epochs", "seed")}
    known = study.user_attrs.get("asked", told)
    if known != told:
        raise SystemExit(f"the sweep in {url} was begun with {known}, now it is {told}: give the same, or choose "
                         "another --out")
    study.set_user_attr("asked", told)
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end, the best first."""
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: -trial.values[0])


def write_table(study: optuna.Study, path: Path) -> None:
    """Write one line a trial, the best first."""
    names = sorted(study.best_trial.params)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["trial", "val_accuracy", *names, "train_seconds"])
    for trial in finished(study):
        table.writerow([trial.number, trial.values[0], *(trial.params[name] for name in names),
                        round(trial.user_attrs["train_seconds"], 2)])
    files.write_text(path, text.getvalue())  # as a whole: another process may write it too


def draw(study: optuna.Study, path: Path, images: str) -> None:
    """Draw every trial's accuracy over each of its settings, and the best so far over the number of trials."""
    from matplotlib import pyplot as plt

    trials, best = sorted(finished(study), key=lambda trial: trial.number), study.best_trial
    accuracy = [100 * trial.values[0] for trial in trials]
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), sharey=True, layout="constrained")
    for axis, (name, scale) in zip(axes, (("learning_rate", "log"), ("weight_decay", "log"), ("batch_size", "linear")),
                                   strict=False):
        axis.scatter([trial.params[name] for trial in trials], accuracy, s=18, c="#3465a4", alpha=0.7)
        axis.scatter(best.params[name], 100 * best.values[0], s=70, facecolors="none", edgecolors="#c4560e")
        axis.set(xscale=scale, xlabel=name.replace("_", " "))
    axes[2].set_xticks([60, 125, 250])
    axes[3].scatter(range(1, len(trials) + 1), accuracy, s=18, c="#3465a4", alpha=0.7)
    so_far = [max(accuracy[:end]) for end in range(1, len(accuracy) + 1)]
    axes[3].step(range(1, len(trials) + 1), so_far, where="post", c="#c4560e", label="best so far")
    axes[3].legend(loc="lower right", frameon=False)
    axes[3].set(xlabel="finished trials")
    axes[0].set_ylabel("validation accuracy, %")
    figure.suptitle(f"{len(trials)} trials; the best (ringed) reaches {100 * best.values[0]:.1f} % on the validation "
                    f"split of {images}", fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    files.write_bytes(path, picture.getvalue())
    plt.close(figure)


def report(study: optuna.Study, asked: argparse.Namespace, data: shiftscope.Dataset) -> None:
    """Write table and figure, train the best once more and test it, for the first time."""
    write_table(study, asked.out / "trials.csv")
    draw(study, asked.out / "sweep.png", f"{data.name} (drawn by Shiftscope)" if data.synthetic else data.name)
    best = study.best_trial
    settings = settings_of(optuna.trial.FixedTrial(best.params), asked)  # pyright: ignore[reportArgumentType]
    model = shiftscope.models.build_model(asked.model, seed=asked.seed)
    shiftscope.train(model, data, settings=settings, name=asked.model)
    tested = shiftscope.evaluate(model, data).accuracy["random"]
    shown = ", ".join(f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in sorted(best.params.items()))
    print(f"best of {len(finished(study))}: trial {best.number} ({shown})")
    print(f"validation {best.values[0]:.1%}   test {tested:.1%}")
    print(f"{asked.out / 'trials.csv'}   {asked.out / 'sweep.png'}")


def main() -> None:
    """Run trials until there are enough, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="finished trials of the whole sweep")
    parser.add_argument("--storage", help="database of the sweep, as an SQLAlchemy URL")
    parser.add_argument("--data", default="garments")
    parser.add_argument("--limit", type=int, help="use the first N images only")
    parser.add_argument("--model", default="two-full")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sweep"))
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, data = begin(asked), shiftscope.load_dataset(asked.data, limit=asked.limit)
    print(f"{len(finished(study))} of {asked.trials} trials are done", flush=True)

    def show(study: optuna.Study, trial: FrozenTrial) -> None:
        value = trial.values[0] if trial.values else math.nan
        print(f"trial {trial.number}: {value:.1%}  {trial.params}", flush=True)

    enough = optuna.study.MaxTrialsCallback(asked.trials, states=(TrialState.COMPLETE,))
    if len(finished(study)) < asked.trials:
        study.optimize(lambda trial: try_one(trial, asked, data), callbacks=[show, enough])
    report(study, asked, data)


if __name__ == "__main__":
    main()
