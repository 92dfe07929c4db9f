"""Which output of a model each class of a dataset is: by a class map, names, WordNet ids or numbers."""

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shiftscope.data.base import Dataset, ImageSet, NoImages, OtherLabels
from shiftscope.data.labels import normalized
from shiftscope.errors import DataError, UsageError, did_you_mean, shortened, some_of
from shiftscope.files import read_regular, reason

ClassMap = Mapping[str, int | str]
"""Class of the dataset -> index, name or WordNet id of an output."""

MAX_MAP_BYTES = 16 * 2**20
"""Size limit of the file of a class map."""

_NOTE = "classes of "
_WORDNET_ID = re.compile(r"n\d{8}(?!\d)")
_REMEDY = "name their outputs with a class map (--class-map FILE, class_map= in Python)"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of a model, K of them.

    Raises:
        UsageError: if there are not K names or WordNet ids.
    """

    count: int
    """K."""
    names: Sequence[str] | None = None
    """Name of each output, if known."""
    wordnet_ids: Sequence[str] | None = None
    """WordNet id of each output, such as n01440764, if known."""
    model: str = "the model"
    """Name of the model in messages."""

    def __post_init__(self) -> None:
        for what, values in (("output_names", self.names), ("wordnet_ids", self.wordnet_ids)):
            if values is not None and (isinstance(values, str) or len(values) != self.count):
                raise UsageError(f"{what} must hold {self.count:,} names, one for each output of {self.model}, got "
                                 f"{len(values):,}: pass the names of all outputs, in their order")


def read_class_map(path: Path | str) -> dict[str, int | str]:
    """Read a class map: a JSON object {class: output}, or a CSV file with the columns class and output.

    Raises:
        DataError: if the file is missing, larger than `MAX_MAP_BYTES`, or has another form, or a class occurs twice.
    """
    path = Path(path).expanduser()
    try:
        text = read_regular(path, MAX_MAP_BYTES).decode("utf-8-sig")
        pairs = _pairs_of_json(text) if path.suffix.lower() == ".json" else _pairs_of_csv(text)
    except OSError as error:
        raise DataError(f"cannot read the class map {path}: {reason(error)}; check the path") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"the class map {path} is invalid: {' '.join(str(error).split())[:120]}; expected a JSON "
                        'object {"class": output, ...}, or a .csv file with a class and an output a line') from error
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        raise DataError(f"the class map {path} has more than one output for {some_of(repeated)}: keep one line for "
                        "each class")
    return dict(pairs)


def _pairs_of_json(text: str) -> list[tuple[str, int | str]]:
    pairs = json.loads(text, object_pairs_hook=_Pairs)
    if not isinstance(pairs, _Pairs):
        raise ValueError(f"it holds a {type(pairs).__name__}")
    return [(name, output) for name, output in pairs if _is_output(name, output)]


class _Pairs(list):
    """The pairs of a JSON object, with repeated keys."""


def _is_output(name: str, output: Any) -> bool:
    if isinstance(output, bool) or not isinstance(output, int | str):
        raise ValueError(f"the output of {name!r:.60} is {output!r:.60}, expected an index or a name")
    return True


def _pairs_of_csv(text: str) -> list[tuple[str, int | str]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != 2), None)
    if wrong is not None:
        raise ValueError(f"line {wrong} has {len(rows[wrong - 1])} columns instead of 2")
    if rows and [cell.strip().lower() for cell in rows[0]] == ["class", "output"]:
        rows = rows[1:]
    return [(name.strip(), int(output) if output.strip().isdecimal() else output.strip()) for name, output in rows]


def with_output_labels(data: Dataset, outputs: Outputs, class_map: ClassMap | None = None) -> Dataset:
    """Return a dataset whose labels are output indices of a model, with the names of all K outputs as class names.

    Without labels only the names are set. A dataset with K classes is returned unchanged, unless there is a class map
    or the names of all classes are names of outputs in another order.

    Each class without an entry in the map is the output with the same WordNet id or name; upper case, "_", "-" and
    spaces make no difference, and a name with commas is a list of synonyms. If all classes are called by numbers, they
    are output indices. The name of an output is its own, or that of its class; "output 3" if there is neither.

    Raises:
        UsageError: if the map has unknown classes, an output does not exist or belongs to two classes, or the output
            of a class is missing or ambiguous; the message lists them.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
        >>> data = Dataset(name="pets", class_names=("cat", "dog"), train=images, test=images, source="-", license="-")
        >>> named = with_output_labels(data, Outputs(count=3, names=["Dog", "fish", "Cat"]))
        >>> named.test.labels.tolist(), named.class_names
        ([2, 0], ('dog', 'fish', 'cat'))
    """
    if not data.labeled:
        if class_map:
            raise UsageError(f"a class map needs classes, and the images of {data.name} have no labels: leave it out")
        return replace(data, class_names=_names(outputs, {}))
    found = _match(data.class_names, outputs, class_map)
    if found is None:
        return data
    numbers = torch.tensor(found)
    sets = {name: images if isinstance(images, NoImages) else _relabeled(images, numbers)
            for name, images in (("train", data.train), ("test", data.test))}
    note = f"{_NOTE}{data.name} are outputs of {outputs.model}: " + some_of(
        [f"{name} = {index}" for name, index in zip(data.class_names, found, strict=True)])
    names = _names(outputs, dict(zip(found, data.class_names, strict=True)))
    return replace(data, class_names=names, notes=(*data.notes, note), **sets)


def class_notes(data: Dataset) -> list[str]:
    """Return the notes of a dataset that name the outputs of its classes."""
    return [note for note in data.notes if note.startswith(_NOTE)]


def _relabeled(images: ImageSet, numbers: torch.Tensor) -> ImageSet:
    return OtherLabels(images, numbers[images.labels])


def _names(outputs: Outputs, classes: Mapping[int, str]) -> tuple[str, ...]:
    """Return the name of each output: that of its class, unless it is a number or id and the output's own is known."""
    def name(index: int) -> str:
        own = outputs.names[index] if outputs.names is not None else None
        given = classes.get(index)
        if given is not None and (own is None or not (given.isdecimal() or _WORDNET_ID.match(given))):
            return given
        return f"output {index}" if own is None else str(own)

    return tuple(name(index) for index in range(outputs.count))


# ---------------------------------------------------------------------- matching

def _match(class_names: Sequence[str], outputs: Outputs, class_map: ClassMap | None) -> list[int] | None:
    """Return the output index of each class; None if they are 0 to K-1 in this order without being matched."""
    names, given = tuple(map(normalized, class_names)), _given(class_names, outputs, class_map)
    keys = _Keys(outputs, all(name.isascii() and name.isdecimal() for name in names) and len(names) < outputs.count)
    found = [given[name] if name in given else keys.find(name) for name in names]
    if not given and len(names) == outputs.count:
        matched = [indices[0] for indices in found if len(indices) == 1]
        complete = len(set(matched)) == len(names)
        if complete and matched != list(range(len(names))):
            return matched
        if complete or all(indices in ([], [index]) for index, indices in enumerate(found)):
            return None
    _check_found(class_names, found, outputs)
    return [indices[0] for indices in found]


def _given(class_names: Sequence[str], outputs: Outputs, class_map: ClassMap | None) -> dict[str, list[int]]:
    """Return the outputs in a class map by class."""
    if class_map is None:
        return {}
    if not isinstance(class_map, Mapping):
        raise UsageError(f"class_map must be a mapping from classes to outputs, got {type(class_map).__name__}: pass a "
                         "dict, or the result of shiftscope.data.read_class_map")
    by_name = {normalized(str(name)): output for name, output in class_map.items()}
    unknown = [name for name in by_name if name not in set(map(normalized, class_names))]
    if unknown:
        raise UsageError(f"the class map has classes that the dataset lacks, {some_of(unknown, 3)}: "
                         f"{did_you_mean(unknown[0], class_names)}expected names of {some_of(class_names, 3)}")
    keys = _Keys(outputs, by_number=False)
    return {name: [_index(name, output, outputs, keys)] for name, output in by_name.items()}


def _index(name: str, output: Any, outputs: Outputs, keys: "_Keys") -> int:
    if isinstance(output, bool) or not (isinstance(output, str) or hasattr(output, "__index__")):
        raise UsageError(f"the output of {name!r:.60} in the class map is {output!r:.60}, expected an index or a name")
    if isinstance(output, str):
        found = keys.find(normalized(output))
        if len(found) != 1:
            problem = f"is the name of {len(found)} outputs" if found else "is not the name of an output"
            raise UsageError(f"the output {output!r:.60} of {name!r:.60} in the class map {problem} of "
                             f"{outputs.model}: use an index from 0 to {outputs.count - 1}")
        return found[0]
    if not 0 <= int(output) < outputs.count:
        raise UsageError(f"the output of {name!r:.60} in the class map is {int(output)}, expected an index from 0 to "
                         f"{outputs.count - 1}, because {outputs.model} has {outputs.count:,} outputs")
    return int(output)


class _Keys:
    """Finds outputs by WordNet id, name, one of several synonyms, or index."""

    def __init__(self, outputs: Outputs, by_number: bool):
        self.outputs, self.by_number = outputs, by_number
        self.levels: list[defaultdict[str, list[int]]] = [defaultdict(list) for _ in range(4)]
        for index, identifier in enumerate(outputs.wordnet_ids or ()):
            self.levels[0][identifier].append(index)
        for index, name in enumerate(outputs.names or ()):
            self.levels[1][_key(str(name))].append(index)
            whole = re.sub(r" \(\d+\)$", "", _key(str(name)))  # such as "crane (134)", of names made unique
            self.levels[2][whole].append(index)
            for part in dict.fromkeys(map(str.strip, whole.split(","))):
                self.levels[3][part].append(index)

    def find(self, name: str) -> list[int]:
        """Return the indices of the outputs that a class may be."""
        identifier = _WORDNET_ID.match(name)
        keys = (identifier[0] if identifier else name, *[_key(name)] * 3)
        found = next((level[key] for level, key in zip(self.levels, keys, strict=True) if key in level), [])
        if not found and self.by_number and int(name) < self.outputs.count:
            return [int(name)]
        return found


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", normalized(name).casefold()).strip()


def _check_found(class_names: Sequence[str], found: Sequence[list[int]], outputs: Outputs) -> None:
    """Raise a `UsageError` that lists classes without an output, with several, or with the same one."""
    owners: defaultdict[int, list[str]] = defaultdict(list)
    for name, indices in zip(class_names, found, strict=True):
        for index in indices:
            owners[index].append(name)
    several = {name: indices for name, indices in zip(class_names, found, strict=True) if len(indices) > 1}
    shared = {index: names for index, names in owners.items() if len(names) > 1}
    missing = [name for name, indices in zip(class_names, found, strict=True) if not indices]
    problems = []
    if missing:
        names = [shortened(str(name), 40) for name in outputs.names or ()]
        hint = did_you_mean(missing[0], names).strip() or (f"outputs: {some_of(names, 3)}" if names else "")
        problems.append(f"{len(missing):,} of {len(class_names):,} match no output: {some_of(missing, 3)}"
                        f"{f' ({hint})' if hint else ''}")
    problems += [f"{name:.40} matches the outputs {some_of(indices, 3)}" for name, indices in list(several.items())[:2]]
    problems += [f"{some_of(names, 3)} match the same output {index}" for index, names in list(shared.items())[:2]]
    if problems:
        raise UsageError(f"{outputs.model} has {outputs.count:,} outputs, the dataset has {len(class_names):,} "
                         f"classes; {'; '.join(problems)}: {_REMEDY}, or choose the dataset it was made for")
