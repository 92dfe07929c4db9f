"""A script in the style of the course, using the drop-in replacement of the course's helper module.

It sets the state of the module and uses its own DataLoaders and networks, with Fashion-MNIST. First, normalized gray
garments at random positions on 56 x 56; then colored garments of nine classes on 64 x 64 from `random_split`, not
normalized. Prints the accuracy of each network and the number of synthesized class images assigned to their class.

Usage: python examples/02_course_script.py [--images 6000] [--epochs 3] [--out course-script]

All 60,000 images and 10 epochs take about half an hour on two cores, because these loaders process single images in
Python.
"""

import argparse
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader, Dataset, Subset, random_split

import shiftscope.model_utils as MU
from shiftscope import load_dataset
from shiftscope.model_utils import evaluate_model, generate_image, make_grid, show


class RandomlyPlaced(Dataset):
    """Garments, each placed at a new random position on every access."""

    def __init__(self, images, size, normalize=None, color=False):
        self.images, self.labels = images.gather(torch.arange(len(images))), images.labels
        self.size, self.normalize, self.color = size, normalize, color

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index].float() / 255
        if self.color:
            image = image * torch.rand(3, 1, 1).clamp(min=0.3)
        y, x = (int(torch.randint(side - 27, ())) for side in self.size)
        canvas = torch.zeros(len(image), *self.size)
        canvas[:, y:y + 28, x:x + 28] = image
        if self.normalize:
            canvas = (canvas - self.normalize[0]) / self.normalize[1]
        return canvas, int(self.labels[index])


class TwoFullNet(nn.Module):
    """The perceptron."""

    def __init__(self, pixels, classes, N=100):
        super().__init__()
        self.pixels = pixels
        self.fc1 = nn.Linear(pixels, N)
        self.fc2 = nn.Linear(N, classes)

    def forward(self, x):
        return F.log_softmax(self.fc2(F.relu(self.fc1(x.view(-1, self.pixels)))), dim=1)


class TwoConvTwoFullNet(nn.Module):
    """The convnet, with the dropout of the course."""

    def __init__(self, channels, side, classes):
        super().__init__()
        self.flat = 30 * (((side - 4) // 2 - 4) // 2) ** 2
        self.conv1 = nn.Conv2d(channels, 30, kernel_size=5)
        self.conv2 = nn.Conv2d(30, 30, kernel_size=5, groups=6)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(self.flat, 100)
        self.fc2 = nn.Linear(100, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2_drop(self.conv2(x))), 2)
        x = F.relu(self.fc1(x.view(-1, self.flat)))
        return F.log_softmax(self.fc2(F.dropout(x, training=self.training)), dim=1)


def gray(count):
    """Set the module's state to gray garments on 56 x 56."""
    data = load_dataset("fashion-mnist")
    MU.imgsize, MU.class_names = (56, 56), list(data.class_names)
    MU.train_dataset = Subset(RandomlyPlaced(data.train, MU.imgsize, (0.1307, 0.3081)), range(count))
    MU.test_dataset = Subset(RandomlyPlaced(data.test, MU.imgsize, (0.1307, 0.3081)), range(min(count, 10_000)))


def color(count):
    """Set the module's state to colored garments of the first nine classes on 64 x 64."""
    data = load_dataset("fashion-mnist")
    MU.imgsize, MU.class_names = (64, 64), list(data.class_names[:9])
    nine = (data.train.labels < 9).nonzero().flatten().tolist()[:count]
    everything = Subset(RandomlyPlaced(data.train, MU.imgsize, color=True), nine)
    MU.train_dataset, MU.test_dataset = random_split(everything, [0.8, 0.2])


def visualize(model, name, out):
    """Synthesize images for all neurons and classes; return the predicted class of each class image."""
    print(model.fc2.weight)
    neurons = [generate_image(model, mode="neuron", target_operator=model.fc1, target_neuron=(i,), seed="zero",
                              verbose=False) for i in range(100)]
    classes = [generate_image(model, mode="class", target_class=k, seed="zero") for k in range(len(MU.class_names))]
    for what, images, columns in (("neurons", neurons, 10), ("classes", classes, 5)):
        plt.figure(figsize=(8, 8 * -(-len(images) // columns) / columns))
        show(make_grid(images, nrow=columns, normalize=True))
        plt.savefig(out / f"{name}-{what}.png", bbox_inches="tight")
        plt.close()
    batch = torch.stack([torch.from_numpy(image) for image in classes])
    batch = batch[:, None] if batch.ndim == 3 else batch.permute(0, 3, 1, 2).contiguous()
    model.eval()
    return model(batch).argmax(1).tolist()


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--images", type=int, default=6000)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--out", type=Path, default=Path("course-script"))
chosen = parser.parse_args()
chosen.out.mkdir(parents=True, exist_ok=True)

MU.args.batch_size, MU.args.epochs = 125, chosen.epochs
torch.manual_seed(MU.args.seed)
for setting, channels in ((gray, 1), (color, 3)):
    setting(chosen.images)
    MU.train_loader = DataLoader(MU.train_dataset, batch_size=MU.args.batch_size, shuffle=True)
    MU.test_loader = DataLoader(MU.test_dataset, batch_size=MU.args.test_batch_size, shuffle=True)
    MU.display_parameters()
    classes, pixels = len(MU.class_names), channels * MU.imgsize[0] * MU.imgsize[1]
    for model in (TwoFullNet(pixels, classes), TwoConvTwoFullNet(channels, MU.imgsize[0], classes)):
        if MU.use_cuda:
            model.cuda()
        history = evaluate_model(model)
        model.cpu()
        name = f"{setting.__name__}-{type(model).__name__}"
        predicted = visualize(model, name, chosen.out)
        confused = [f"{MU.class_names[k]} as {MU.class_names[label]}"
                    for k, label in enumerate(predicted) if k != label]
        recognized = f"{classes - len(confused)} of {classes} class images"
        print(f"{name}: {history[-1]['test_accuracy']:.1%} accuracy; {recognized} recognized;",
              f"misclassified: {', '.join(confused) or 'none'}")
