"""Scripts in the style of the course: module-level state, own DataLoaders, own module classes."""

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, random_split

from shiftscope.model_utils import (
    AttrDict,
    display_classified_images,
    evaluate_model,
    generate_image,
    make_grid,
    show,
    test,
    train,
)


class Shapes(Dataset):
    """Moving discs, squares, crosses, ..., normalized where a mean is given; a list of items as many notebooks have."""

    def __init__(self, count, size, channels, classes, mean=None, std=None):
        self.items = []
        rows, columns = np.mgrid[:size[0], :size[1]]
        dice = np.random.default_rng(0)
        for index in range(count):
            label = index % classes
            y, x = (dice.integers(12, side - 12) for side in size)
            radius = 3 + label
            inside = np.hypot(rows - y, columns - x) < radius if label % 2 else np.maximum(
                abs(rows - y), abs(columns - x)) < radius
            image = torch.from_numpy(inside.astype(np.float32)).expand(channels, *size).clone()
            image[label % channels] *= 0.5
            self.items.append(((image if mean is None else (image - mean) / std), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class TwoFull(nn.Module):
    def __init__(self, N, pixels, classes):
        super().__init__()
        self.pixels = pixels
        self.fc1 = nn.Linear(pixels, N)
        self.fc2 = nn.Linear(N, classes)

    def forward(self, x):
        x = x.view(-1, self.pixels)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


class TwoConv(nn.Module):
    def __init__(self, channels, side, classes):
        super().__init__()
        self.flat = 30 * (((side - 4) // 2 - 4) // 2)**2
        self.conv1 = nn.Conv2d(channels, 30, kernel_size=5)
        self.conv2 = nn.Conv2d(30, 30, kernel_size=5, groups=6)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(self.flat, 100)
        self.fc2 = nn.Linear(100, classes)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = F.relu(self.fc1(x.view(-1, self.flat)))
        return F.log_softmax(self.fc2(F.dropout(x, training=self.training)), dim=1)


@pytest.mark.parametrize("size, channels, classes, split", [((56, 56), 1, 10, False), ((64, 64), 3, 9, True)])
def test_a_script_of_the_course_runs(MU, capsys, size, channels, classes, split):
    torch.manual_seed(1)
    MU.imgsize = size
    MU.class_names = [f"shape {k}" for k in range(classes)]
    MU.args.batch_size = MU.args.test_batch_size = 30
    MU.args.epochs = 2
    if split:
        everything = Shapes(20 * classes, size, channels, classes)
        MU.train_dataset, MU.test_dataset = random_split(everything, [0.8, 0.2])
    else:
        MU.train_dataset = Shapes(15 * classes, size, channels, classes, 0.1307, 0.3081)
        MU.test_dataset = Shapes(4 * classes, size, channels, classes, 0.1307, 0.3081)
    kwargs = {"num_workers": 0, "pin_memory": MU.use_cuda}
    MU.train_loader = DataLoader(MU.train_dataset, batch_size=MU.args.batch_size, shuffle=True, **kwargs)
    MU.test_loader = DataLoader(MU.test_dataset, batch_size=MU.args.test_batch_size, shuffle=True, **kwargs)
    MU.display_parameters()

    for model in (TwoFull(100, channels * size[0] * size[1], classes), TwoConv(channels, size[0], classes)):
        if MU.use_cuda:
            model.cuda()
        history = evaluate_model(model)
        assert [line["epoch"] for line in history] == [1, 2]
        assert history[-1]["train_loss"] < history[0]["train_loss"]
        display_classified_images(model, n=6)
        show(make_grid(torch.stack([MU.train_dataset[k][0] for k in range(6)]), nrow=3, normalize=True))
        print(model.fc2.weight, model.fc2.bias)

        shape = size if channels == 1 else (*size, 3)
        pictures = [generate_image(model, mode="class", target_class=k, seed="zero") for k in (0, classes - 1)]
        pictures += [generate_image(model, mode="neuron", target_operator=model.fc1, target_neuron=(i,), seed="zero",
                                    verbose=False) for i in (0, 99)]
        assert all(picture.shape == shape and picture.dtype == np.float32 for picture in pictures)
        low, high = (0.0, 1.0) if split else ((0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081)
        assert all(low - 1e-4 <= picture.min() < picture.max() <= high + 1e-4 for picture in pictures)
        show(make_grid(pictures, nrow=2, normalize=True))
    assert "Parameter containing" in capsys.readouterr().out


def test_a_notebook_with_its_own_args_and_loop(MU):
    MU.args = AttrDict(batch_size=20, test_batch_size=20, epochs=2, lr=0.01, momentum=0.5, seed=1, log_interval=100)
    MU.imgsize = (40, 40)
    MU.train_loader = MU.test_loader = DataLoader(Shapes(40, (40, 40), 1, 4, 0.1307, 0.3081), MU.args.batch_size)
    model = TwoFull(20, 1600, 4)
    losses = []
    for epoch in range(1, MU.args.epochs + 1):
        losses.append(train(model, epoch)[0])
        loss, accuracy = test(model)
    assert losses[1] < losses[0]
    assert loss < losses[0]
    assert 0 <= accuracy <= 1
