"""Optimize the learning rate, weight decay and batch size of a small network with Optuna.

Each trial trains on synthetic garments and is scored by its validation accuracy, never on the test set. All trials are
stored in a database, so an interrupted sweep continues when it is started again, and several processes or machines can
share a sweep by using the same database. Writes a table (trials.csv) and a figure (sweep.png), and prints the test
accuracy of the best trial.

Usage: python examples/sweep.py [--trials 30] [--storage URL] [--data garments] [--model two-full] [--epochs 5]
       [--out sweep]

30 trials take about a minute on two cores. Needs Optuna: pip install "shiftscope[tune]". URL is any SQLAlchemy
database URL, for example postgresql://user@host/name. The default is a SQLite file in the folder of --out, which
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
HEARTBEAT = 60
"""Seconds between heartbeats of a running trial. After three times as long without one, a trial counts as failed."""


def settings_of(trial: Trial, arguments: argparse.Namespace) -> shiftscope.TrainSettings:
    """Return the settings of a trial."""
    return shiftscope.TrainSettings(
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.3, log=True),
        batch_size=trial.suggest_categorical("batch_size", [60, 125, 250]),
        epochs=arguments.epochs, seed=arguments.seed)


def run_trial(trial: Trial, arguments: argparse.Namespace, data: shiftscope.Dataset) -> float:
    """Train once and return the accuracy on the validation split after the last epoch."""
    # Each trial has its own sampler, so that processes that share a sweep run different trials, and a resumed sweep
    # runs the same trials as an uninterrupted one.
    trial.study.sampler = optuna.samplers.TPESampler(seed=hashing.stream(arguments.seed, trial.number) % 2**32)
    settings = settings_of(trial, arguments)
    model = shiftscope.models.build_model(arguments.model, seed=arguments.seed)
    result = shiftscope.train(model, data, settings=settings, name=arguments.model, progress=False)
    trial.set_user_attr("train_seconds", result.train_seconds)
    return result.history[-1]["val_accuracy"] or 0.0


def open_study(url: str, tries: int = 10) -> optuna.Study:
    """Open the study in a database. If several processes create it at the same time, all but one must retry."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat options
            storage = optuna.storages.RDBStorage(url, heartbeat_interval=HEARTBEAT, grace_period=3 * HEARTBEAT)
        return optuna.create_study(study_name=STUDY, storage=storage, direction="maximize", load_if_exists=True)
    except DBAPIError:
        if tries == 1:
            raise
        time.sleep(0.5)
        return open_study(url, tries - 1)


def begin(arguments: argparse.Namespace) -> optuna.Study:
    """Open the sweep, or create it if it is not in the database."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    url = arguments.storage or f"sqlite:///{arguments.out / 'sweep.db'}"
    study = open_study(url)
    settings = {name: str(getattr(arguments, name)) for name in ("data", "limit", "model", "epochs", "seed")}
    known = study.user_attrs.get("asked", settings)
    if known != settings:
        raise SystemExit(f"the sweep in {url} was started with {known}, not with {settings}: use the same settings or "
                         "choose another --out")
    study.set_user_attr("asked", settings)
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the completed trials, the best first."""
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: -trial.values[0])


def write_table(study: optuna.Study, path: Path) -> None:
    """Write one line per trial, the best first."""
    names = sorted(study.best_trial.params)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["trial", "val_accuracy", *names, "train_seconds"])
    for trial in finished(study):
        table.writerow([trial.number, trial.values[0], *(trial.params[name] for name in names),
                        round(trial.user_attrs["train_seconds"], 2)])
    files.write_text(path, text.getvalue())  # atomic: another process may write it too


def draw(study: optuna.Study, path: Path, images: str) -> None:
    """Plot validation accuracy against each setting, and the best accuracy against the number of trials."""
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
    figure.suptitle(f"{len(trials)} trials; the best (circled) reaches {100 * best.values[0]:.1f} % on the validation "
                    f"split of {images}", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    files.write_bytes(path, buffer.getvalue())
    plt.close(figure)


def report(study: optuna.Study, arguments: argparse.Namespace, data: shiftscope.Dataset) -> None:
    """Write the table and the figure, then retrain with the best settings and evaluate on the test set."""
    write_table(study, arguments.out / "trials.csv")
    draw(study, arguments.out / "sweep.png", f"{data.name} (synthetic)" if data.synthetic else data.name)
    best = study.best_trial
    settings = settings_of(optuna.trial.FixedTrial(best.params), arguments)  # pyright: ignore[reportArgumentType]
    model = shiftscope.models.build_model(arguments.model, seed=arguments.seed)
    shiftscope.train(model, data, settings=settings, name=arguments.model)
    tested = shiftscope.evaluate(model, data).accuracy["random"]
    shown = ", ".join(f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in sorted(best.params.items()))
    print(f"best of {len(finished(study))}: trial {best.number} ({shown})")
    print(f"validation {best.values[0]:.1%}   test {tested:.1%}")
    print(f"{arguments.out / 'trials.csv'}   {arguments.out / 'sweep.png'}")


def main() -> None:
    """Run the missing trials, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, help="number of finished trials of the sweep")
    parser.add_argument("--storage", help="SQLAlchemy URL of the database of the sweep")
    parser.add_argument("--data", default="garments")
    parser.add_argument("--limit", type=int, help="use the first N images only")
    parser.add_argument("--model", default="two-full")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sweep"))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, data = begin(arguments), shiftscope.load_dataset(arguments.data, limit=arguments.limit)
    print(f"{len(finished(study))} of {arguments.trials} trials are done", flush=True)

    def show(study: optuna.Study, trial: FrozenTrial) -> None:
        value = trial.values[0] if trial.values else math.nan
        print(f"trial {trial.number}: {value:.1%}  {trial.params}", flush=True)

    enough = optuna.study.MaxTrialsCallback(arguments.trials, states=(TrialState.COMPLETE,))
    if len(finished(study)) < arguments.trials:
        study.optimize(lambda trial: run_trial(trial, arguments, data), callbacks=[show, enough])
    report(study, arguments, data)


if __name__ == "__main__":
    main()
