"""Files of other libraries that are not read, with the lines of code that convert them."""

from pathlib import Path

_NPZ = "convert it and read npz:converted.npz"
_LINES = {
    "a MATLAB file": ((".mat",), _NPZ, """
    import numpy, scipy.io
    arrays = scipy.io.loadmat({path})  # the names and axes are those of SVHN, whose digit 0 has the label 10
    numpy.savez('converted.npz', images=arrays['X'].transpose(3, 0, 1, 2), labels=arrays['y'].ravel() % 10)"""),
    "an HDF5 file": ((".h5", ".hdf5", ".hdf"), _NPZ, """
    import h5py, numpy
    file = h5py.File({path})  # the names are those of many files, such as PatchCamelyon
    numpy.savez('converted.npz', images=file['x'][:], labels=file['y'][:].ravel())"""),
    "a Parquet file": ((".parquet", ".arrow"), "load it as a dataset of Hugging Face", """
    # my_data.py, read as my_data:data
    import datasets
    data = datasets.load_dataset('{kind}', data_files={{'train': {path}, 'test': {path}}})"""),
    "a pickle, which can run code": ((".pkl", ".pickle"), _NPZ, """
    import numpy, pickle
    batch = pickle.load(open({path}, 'rb'), encoding='latin1')  # only a file that you trust, here one of CIFAR
    images = batch['data'].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    numpy.savez('converted.npz', images=images, labels=batch.get('labels', batch.get('fine_labels')))"""),
    "a binary file": ((".bin",), _NPZ, """
    import numpy
    rows = numpy.fromfile({path}, 'uint8').reshape(-1, 3073)  # the rows of CIFAR-10: a label, and 3 x 32 x 32 pixels
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    numpy.savez('converted.npz', images=images, labels=rows[:, 0])"""),
    "a file of torch.save": ((".pt", ".pth"), _NPZ, """
    import numpy, torch
    images, labels = torch.load({path}, weights_only=True)  # a pair of tensors, as the older files of MNIST
    numpy.savez('converted.npz', images=images, labels=labels)"""),
    "a single array": ((".npy",), _NPZ, """
    import numpy
    numpy.savez('converted.npz', images=numpy.load({path}))  # with labels=..., if there are some"""),
}
"""By kind of file: its suffixes, what to do, and the lines of code."""

_CIFAR = ("data_batch_", "test_batch")


def conversion(path: Path) -> str | None:
    """Return the kind of a file and the lines that convert it; None for files without a conversion.

    >>> print(conversion(Path("images.npy")))
    a single array: convert it and read npz:converted.npz
        import numpy
        numpy.savez('converted.npz', images=numpy.load('images.npy'))  # with labels=..., if there are some
    """
    suffix = ".pkl" if path.name.startswith(_CIFAR) and not path.suffix else path.suffix.lower()
    for what, (suffixes, remedy, lines) in _LINES.items():
        if suffix in suffixes:
            return f"{what}: {remedy}{lines.format(path=repr(str(path)), kind=suffix[1:])}"
    return None
