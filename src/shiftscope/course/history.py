"""What `evaluate_model` returns."""

from typing import TypedDict


class EpochScores(TypedDict):
    """One epoch. Losses are mean cross entropy (nats), accuracies shares from 0 to 1, `seconds` training alone."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


class History(list[EpochScores]):
    """The epochs, first to last: a list that shows itself as a table.

    >>> History([EpochScores(epoch=1, train_loss=1.0, train_accuracy=0.5, test_loss=0.9, test_accuracy=0.6,
    ...                      seconds=2.0)])
    epoch  train loss  train accuracy  test loss  test accuracy  seconds
        1       1.000          50.0 %      0.900         60.0 %      2.0
    """

    def __repr__(self) -> str:
        heads = ["epoch", "train loss", "train accuracy", "test loss", "test accuracy", "seconds"]
        rows = [[str(line["epoch"]), f"{line['train_loss']:.3f}", f"{100 * line['train_accuracy']:.1f} %",
                 f"{line['test_loss']:.3f}", f"{100 * line['test_accuracy']:.1f} %", f"{line['seconds']:.1f}"]
                for line in self]
        return "\n".join("  ".join(cell.rjust(len(head)) for head, cell in zip(heads, row, strict=True))
                         for row in [heads, *rows])
