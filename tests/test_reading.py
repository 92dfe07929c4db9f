"""JSON documents have the requested type, or are refused in one phrase."""

import contextlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from shiftscope.errors import UsageError
from shiftscope.files import UnfitFileError
from shiftscope.reading import MAX_DEPTH, as_type, decode, object_of, read_json


class Line(TypedDict):
    epoch: int
    loss: float
    accuracy: float | None
    note: NotRequired[str]


@dataclass(frozen=True)
class Part:
    name: str
    size: tuple[int, int]
    share: float = 0.5

    def __post_init__(self):
        if self.share > 1:
            raise UsageError("share must be at most 1")


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: list[Part]
    lines: list[Line] = field(default_factory=list)
    kind: Literal["a", "b"] = "a"
    numbers: dict[str, list[float]] = field(default_factory=dict)
    few: Annotated[list[int], Meta(max_length=2)] = field(default_factory=list)


VALUES: dict[str, Any] = {
    "parts": [{"name": "x", "size": [3, 4]}], "lines": [{"epoch": 1, "loss": None, "accuracy": None}], "kind": "b",
    "numbers": {"q": [1, None, 2.5]}, "few": [7], "from a later release": {"any": "thing"}}


def test_nested_values_become_the_given_types():
    found = as_type(VALUES, Whole)
    assert found.parts == [Part("x", (3, 4))] and found.kind == "b" and found.few == [7]
    line = found.lines[0]
    assert line["epoch"] == 1 and line["loss"] != line["loss"] and line["accuracy"] is None  # NaN, and None
    assert [repr(number) for number in found.numbers["q"]] == ["1.0", "nan", "2.5"]
    assert as_type({"parts": []}, Whole) == Whole(parts=[])


@pytest.mark.parametrize("change, problem", [
    ({"parts": 3}, "parts: expected array, got int"), ({"parts": [{}]}, r"parts\[0\]: object missing required field"),
    ({"parts": [{"name": 3, "size": [1, 2]}]}, r"parts\[0\].name: expected str, got int"),
    ({"parts": [{"name": "x", "size": [1]}]}, r"parts\[0\].size: expected array of length 2"),
    ({"parts": [{"name": "x", "size": [1, True]}]}, r"size\[1\]: expected int, got bool"),
    ({"parts": [{"name": "x", "size": [1, 2.5]}]}, r"size\[1\]: expected int, got float"),
    ({"parts": [{"name": "x", "size": [1, 2**63]}]}, r"size\[1\]: expected int <= 9223372036854775807"),
    ({"lines": [{"epoch": 1, "loss": "low", "accuracy": None}]}, r"lines\[0\].loss: expected float, got str"),
    ({"lines": [{"epoch": 1, "loss": True, "accuracy": None}]}, r"lines\[0\].loss: expected float, got bool"),
    ({"lines": [{"epoch": 1, "loss": 10**400, "accuracy": None}]}, r"lines\[0\].loss: number out of range"),
    ({"kind": "c"}, "kind: invalid enum value 'c'"), ({"numbers": {"q": {}}}, "expected array, got object"),
    ({"few": [1, 2, 3]}, "few: expected array of length <= 2"), ({"few": [2**70]}, "expected int"),
])
def test_values_of_other_types_are_refused_with_their_path(change, problem):
    with pytest.raises(UnfitFileError, match=problem):
        as_type(VALUES | change, Whole)


def test_errors_of_the_dataclass_itself_are_kept():
    with pytest.raises(UsageError, match="share must be at most 1"):
        as_type({"name": "x", "size": [1, 2], "share": 3}, Part)


def test_names_are_part_of_the_path():
    with pytest.raises(UnfitFileError, match=r"^plan.few\[0\]: expected int, got null$"):
        as_type({"few": [None]}, object_of(Whole, without=["parts"]), "plan")


@pytest.mark.parametrize("text", [
    b"", b"{", b"[1,]", b"NaN", b"[Infinity]", b"1e999", b'"\xff"', b'"\\ud800"', b"{} {}", b"\xef\xbb\xbf{}", b"'a'",
    b"9" * 5000, b"[" * 100_000, b'{"a":' * 100_000, b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b"\x00",
    "\ud800"])
def test_texts_that_are_not_json_are_refused(text):
    with pytest.raises(UnfitFileError) as caught:
        decode(text)
    assert len(str(caught.value)) < 200


def test_nesting_up_to_the_limit_is_read():
    text = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert decode(text) == json.loads(text)


def test_files_above_the_limit_are_not_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1} == read_json(path, dict[str, int], limit=8)
    with pytest.raises(UnfitFileError, match="it holds 8 bytes, the limit for such a file is 7"):
        read_json(path, limit=7)
    with pytest.raises(UnfitFileError, match=r"\[...\]: expected str, got int"):
        read_json(path, dict[str, str])
    path.write_text("[]")
    with pytest.raises(UnfitFileError, match="^expected object, got array"):
        read_json(path)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                        ["parts", "lines", "name", "size", "epoch", "loss", "kind"]), inner, max_size=4))


@given(JSON)
def test_any_value_is_read_or_refused(value):
    with contextlib.suppress(UnfitFileError, UsageError):
        assert isinstance(as_type(value, Whole), Whole)
