"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747): 60,000 + 10,000 garments, gray, 28 x 28."""

from pathlib import Path

from shiftscope.data.base import Dataset
from shiftscope.data.published import Published
from shiftscope.progress import Progress

FASHION_MNIST = Published(
    name="fashion-mnist",
    description="60,000 + 10,000 photographed garments, 28 x 28, gray, ten classes",
    class_names=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                 "Ankle boot"),
    source="Fashion-MNIST by Zalando Research, https://github.com/zalandoresearch/fashion-mnist",
    license="MIT, Copyright 2017 Zalando SE",
    mirrors=("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
             "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
    gzipped_sha256={
        "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    unpacked_sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    })


def load_fashion_mnist(data_dir: Path | str | None = None, progress: Progress | None = None) -> Dataset:
    """Return Fashion-MNIST; files that are in no folder are downloaded.

    Args:
        data_dir: folder that is searched first; downloads go there.
        progress: shows downloads.

    Raises:
        DataError: if a file is damaged, or missing and every download fails.
    """
    return FASHION_MNIST.load(data_dir, progress)
