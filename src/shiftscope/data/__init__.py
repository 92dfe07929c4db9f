"""Datasets: uint8 images, labeled or not, behind one interface, wherever they come from."""

from shiftscope.data.arrays import from_arrays, from_torch
from shiftscope.data.base import Dataset, ImageSet, Subset, TensorImages, class_counts
from shiftscope.data.catalog import dataset_catalog, dataset_info, fetch_dataset, load_dataset
from shiftscope.data.class_map import read_class_map
from shiftscope.data.csv_file import read_csv
from shiftscope.data.download import DATA_DIR_VARIABLE, cache_folder
from shiftscope.data.fashion_mnist import load_fashion_mnist
from shiftscope.data.folder import read_folder
from shiftscope.data.garments import load_garments
from shiftscope.data.idx_folder import read_idx_folder
from shiftscope.data.image_file import read_image_file
from shiftscope.data.images import from_images
from shiftscope.data.npz_file import read_npz
from shiftscope.data.packed import read_packed
from shiftscope.data.streamed import StreamedDataset, from_iterable

__all__ = [
    "DATA_DIR_VARIABLE",
    "Dataset",
    "ImageSet",
    "StreamedDataset",
    "Subset",
    "TensorImages",
    "cache_folder",
    "class_counts",
    "dataset_catalog",
    "dataset_info",
    "fetch_dataset",
    "from_arrays",
    "from_images",
    "from_iterable",
    "from_torch",
    "load_dataset",
    "load_fashion_mnist",
    "load_garments",
    "read_class_map",
    "read_csv",
    "read_folder",
    "read_idx_folder",
    "read_image_file",
    "read_npz",
    "read_packed",
]
