from collections import Counter

import pytest
import torch

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.evaluation import evaluate
from shiftscope.evaluation.accuracy import CELL, CELL_BYTES, cell_examples
from shiftscope.models import build_model
from shiftscope.placement import Placement


def synthetic(count=500, classes=3):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return labels, torch.randint(-1, classes, (count,), generator=generator)


def test_each_cell_has_its_first_images():
    labels, said = synthetic()
    seen: Counter = Counter()
    expected = []
    for index, cell in enumerate(zip(labels.tolist(), said.tolist(), strict=True)):
        seen[cell] += 1
        if cell[1] >= 0 and seen[cell] <= CELL:
            expected.append(index)
    assert cell_examples(labels, said, 3, (1, 28, 28)).tolist() == expected and len(expected) == 9 * CELL


@pytest.mark.parametrize("most, wrong, right", [(6, 6, 0), (20, 20, 0), (24, 24, 0), (27, 24, 3), (30, 24, 6)])
def test_incorrect_predictions_come_first(most, wrong, right):
    labels, said = synthetic()
    index = cell_examples(labels, said, 3, (1, 28, 28), most=most)
    cells = Counter(zip(labels[index].tolist(), said[index].tolist(), strict=True))
    assert sum(count for (true, answer), count in cells.items() if true != answer) == wrong
    assert len(index) - wrong == right
    off = [cells[true, answer] for true in range(3) for answer in range(3) if true != answer]
    assert max(off) - min(off) <= 1


def test_large_images_are_kept_within_the_budget():
    labels, said = synthetic()
    side = int((CELL_BYTES / 3 / 5.5) ** 0.5)
    assert len(cell_examples(labels, said, 3, (3, side, side))) == 5
    assert len(cell_examples(labels, said, 3, (3, 4000, 4000))) == 0


def test_the_record_contains_the_images_of_the_dataset():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (90, 2, 4, 6), dtype=torch.uint8, generator=generator)
    both = TensorImages(images, torch.arange(90) % 3)
    data = Dataset(name="noise", class_names=("a", "b", "c"), train=both, test=both, source="-", license="-")
    found = evaluate(build_model("two-full", canvas=(9, 14), channels=2, classes=3), data,
                     placement=Placement(image=(4, 6), canvas=(9, 14)))
    assert torch.from_numpy(found.cell_images).equal(images[found.cell_index])
    assert found.cell_index.tolist() == cell_examples(both.labels, torch.from_numpy(found.predictions), 3,
                                                 (2, 4, 6)).tolist()
    kept = Counter(zip(found.labels[found.cell_index].tolist(), found.predictions[found.cell_index].tolist(),
                       strict=True))
    for cell, count in kept.items():
        assert count == min(CELL, found.confusion[cell])
