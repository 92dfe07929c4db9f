"""Seeded damage to files: bytes, JSON values, members of ZIP archives, headers of formats with checksums and lengths.

Every mutation takes a random generator and the content of a file, and returns other content. Formats that protect
their content (gzip, ZIP, packed files, PNG) are taken apart, damaged inside, and put together again with right
checksums: otherwise only the checksum would be tested.
"""

import copy
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[random.Random, bytes], bytes]

TOKENS = (b"NaN", b"-Infinity", b"-1", b"1e999", b"9" * 30, b"null", b"true", b"{}", b"[]", b'"', b"\\ud800", b"\x00",
          b"\xff\xfe", b"\xed\xa0\x80", b"planted_code:run", b"[" * 50_000, b'{"a":' * 20_000, b"\n\n", b"=", b"[run]",
          b"../../etc/passwd", b"%s%n", b"cos\nsystem\n(S'touch sentinel'\ntR.")
NUMBERS = (0, -1, 1, 2, 255, 256, -(2**31), 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 0.5, -0.0, 1e300, float("nan"),
           40_000, 99_999_999, 3)
TEXTS = ("", "x", "planted_code:run", "garments:99999999,10", "garments:20,10", "folder:/", "npz:missing.npz", "é" * 10,
         "a" * 100_000, "\x00", "../..", "texture", "canvas", "circular", "os:system", "two-conv", "nan", "<script>")
TYPES = ("float32", "float64", "float16", "int64", "uint8", "bool", "complex64", "S3", "U4", "i1", ">f4", "M8[s]", "V8")


def any_value(rng: random.Random) -> Any:
    """Return a JSON value of any type."""
    return rng.choice((lambda: rng.choice(NUMBERS), lambda: rng.choice(TEXTS), lambda: None, lambda: [],
                       lambda: rng.random() < 0.5, dict, lambda: [rng.choice(NUMBERS) for _ in range(rng.randrange(5))],
                       lambda: {rng.choice(TEXTS): rng.choice(NUMBERS)}, lambda: [[["deep"]]], lambda: [0] * 100_000))()


# ---------------------------------------------------------------------- bytes

def flip(rng: random.Random, data: bytes) -> bytes:
    """Flip one to eight bits, half of the time near the beginning."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[_place(rng, len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[:rng.randrange(len(data) + 1)]


def repeat_block(rng: random.Random, data: bytes) -> bytes:
    begin, end = _block(rng, data)
    return data[:end] + data[begin:end] * rng.randint(1, 20) + data[end:]


def remove_block(rng: random.Random, data: bytes) -> bytes:
    begin, end = _block(rng, data)
    return data[:begin] + data[end:]


def insert_token(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(TOKENS) + data[place:]


def overwrite_number(rng: random.Random, data: bytes) -> bytes:
    """Replace bytes near the beginning by an extreme whole number."""
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice((0, 1, 2**31 - 1, 2**31, 2**64 - 1, 2**63, 40_000, 2**24))
    packed = (number % 2**(8 * size)).to_bytes(size, rng.choice(("little", "big")))
    place = _place(rng, len(data))
    return data[:place] + packed + data[place + size:]


def replace_all(rng: random.Random, data: bytes) -> bytes:
    return rng.choice((b"", b"\x00" * 100, rng.randbytes(200), b"[]", b"null", b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY",
                       data[::-1], data + data))


BYTES: tuple[Mutation, ...] = (flip, flip, truncate, repeat_block, remove_block, insert_token, overwrite_number,
                               replace_all)


def damage(rng: random.Random, data: bytes) -> bytes:
    """Apply one mutation of bytes."""
    return rng.choice(BYTES)(rng, data)


def _place(rng: random.Random, length: int) -> int:
    near = length if rng.random() < 0.5 else min(length, 128)
    return rng.randrange(near) if near else 0


def _block(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.choice((1, 4, 16, 200)))


# ---------------------------------------------------------------------- JSON

def change_json(rng: random.Random, data: bytes) -> bytes:
    """Change one or two values of a JSON document: type, size, nesting, presence."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return damage(rng, data)
    for _ in range(rng.choice((1, 1, 2))):
        values = change_value(rng, values)
    return json.dumps(values).encode()


def change_value(rng: random.Random, values: Any) -> Any:
    """Return the document with one value somewhere in it changed."""
    places = list(_places(values))
    if not places:
        return any_value(rng)
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = rng.choice(([holder[key]], {"value": holder[key]}, [holder[key]] * 3, None))
    elif kind == 2:
        other, name = rng.choice(places)
        holder[key] = copy.deepcopy(other[name]) if isinstance(other, list) or name in other else None
    elif kind == 3 and isinstance(holder[key], int | float):
        holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 1000, *NUMBERS))
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = any_value(rng)
    else:
        holder[key] = any_value(rng)
    return values


def _places(values: Any) -> Any:
    """Yield (container, key) of every value below, those near the root as often as the many below them."""
    if isinstance(values, dict | list):
        pairs = list(values.items() if isinstance(values, dict) else enumerate(values))
        for key, value in pairs:
            below = list(_places(value))
            yield from [(values, key)] * max(1, len(below) // 4)
            yield from below[:40]


def change_lines(rng: random.Random, data: bytes) -> bytes:
    """Change one line of a log."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    lines[place] = change_json(rng, lines[place])
    return b"\n".join(lines)


# ---------------------------------------------------------------------- archives

def change_zip(rng: random.Random, data: bytes, inside: Mutation) -> bytes:
    """Change one member of a ZIP archive, with right checksums, or how it is stored."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: (info.compress_type, archive.read(info)) for info in archive.infolist()}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError,
            zlib.error):
        return damage(rng, data)
    if not members:
        return damage(rng, data)
    names, kind = list(members), rng.randrange(8)
    name = rng.choice(names)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name] = (rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)), members[name][1])
    elif kind == 2:
        members[name] = members[rng.choice(names)]
    elif kind > 3:
        members[name] = (members[name][0], inside(rng, members[name][1]))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for member, (method, content) in members.items():
            archive.writestr(zipfile.ZipInfo(member), content, compress_type=method)
    return _flagged(rng, made.getvalue()) if kind == 3 else made.getvalue()


def _flagged(rng: random.Random, data: bytes) -> bytes:
    """Say in an entry of the directory that a member is encrypted, of an unknown method, or of a huge size."""
    place = data.find(b"PK\x01\x02")
    changed = bytearray(data)
    if place < 0:
        return data
    if rng.random() < 0.3:
        changed[place + 8] |= 1
    elif rng.random() < 0.5:
        changed[place + 10] = rng.choice((1, 9, 93, 99))
    else:
        changed[place + 24:place + 28] = struct.pack("<I", rng.choice((2**32 - 2, 2**31, 0)))
    return bytes(changed)


def change_npz(rng: random.Random, data: bytes) -> bytes:
    whole = rng.random() < 0.9 or not zipfile.is_zipfile(io.BytesIO(data))
    return change_zip(rng, data, change_npy) if whole else bomb_npz(data)


def bomb_npz(data: bytes) -> bytes:
    """Put a member of three gigabytes of zeros into an archive of three megabytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        names = ["train_images.npy"]
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (3 * 2**30,)})
    stream, size = _zeros(header.getvalue(), 3 * 2**30)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            archive.writestr(info, stream)
            info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, size
    return made.getvalue()


def bomb_gzip(data: bytes, content: bytes) -> bytes:
    """Replace the content of a gzip file by its beginning and three gigabytes of zeros."""
    stream, size = _zeros(content[:16], 3 * 2**30)
    return data[:10] + stream + struct.pack("<II", 0, size % 2**32)


def _zeros(begin: bytes, count: int) -> tuple[bytes, int]:
    """Return a raw deflate stream of `begin` and `count` zeros, and its unpacked size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + part * (count // 2**24) + packer.flush(zlib.Z_FINISH), len(begin) + count


def change_npy(rng: random.Random, data: bytes) -> bytes:
    """Change an array: type, shape, order, or its header in any way."""
    try:
        array = np.load(io.BytesIO(data))
    except Exception:  # damaged before: NumPy has no error of its own for it
        return damage(rng, data)
    if not isinstance(array, np.ndarray):
        return damage(rng, data)
    kind, made = rng.randrange(8), io.BytesIO()
    if kind == 0:
        np.save(made, np.zeros(array.shape, np.dtype(rng.choice(TYPES))))
    elif kind == 1:
        np.save(made, np.asfortranarray(array))
    elif kind == 2:
        shape = rng.choice(((), (0,), (3,), array.shape[:-1], (*array.shape, 1), (0, *array.shape[1:])))
        np.save(made, np.zeros(shape, array.dtype))
    elif kind == 3:
        np.save(made, np.full(3, {"a": 1}, dtype=object), allow_pickle=True)
    elif kind == 4:
        np.save(made, np.zeros(array.shape, np.dtype([("a", "<i4"), ("b", "<f4")])))
    elif kind == 5 and array.size and array.dtype.kind in "iuf":
        changed = array.copy()
        changed.reshape(-1)[rng.randrange(array.size)] = np.array(rng.choice((0, 1, 127, 99))).astype(array.dtype)
        if rng.random() < 0.3:
            changed[...] = np.array(rng.choice((0, 1, 255))).astype(array.dtype)
        np.save(made, changed)
    else:
        return _change_header(rng, data)
    return made.getvalue()


def _change_header(rng: random.Random, data: bytes) -> bytes:
    length = 128 if len(data) >= 128 else len(data)
    text = rng.choice(("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999,), }",
                       "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }",
                       "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
                       "{'descr': 'x', 'fortran_order': 3, 'shape': 'a', }", "{'descr': [[", "__import__('os')",
                       "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0), }",
                       "{'descr': '<i8', 'fortran_order': False, 'shape': (True, 2.5), }", "(" * 90))
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    body = text.ljust(117).encode()[:117] + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", rng.choice((len(body), len(body), 2**16 - 1, 0)))
    return b"\x93NUMPY" + version + size + body + data[length:]


def change_gzip(rng: random.Random, data: bytes) -> bytes:
    kind = rng.randrange(4)
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):  # damaged before
        return damage(rng, data)
    if kind == 0:
        return bomb_gzip(data, content)
    return damage(rng, data) if kind == 1 else gzip.compress(damage(rng, content))


# ---------------------------------------------------------------------- formats of their own

def change_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Change the JSON header of a safetensors file and its length with it."""
    if rng.random() < 0.3 or len(data) < 8:
        return damage(rng, data)
    length = min(struct.unpack("<Q", data[:8])[0], len(data))
    text = data[8:8 + length]
    kind = rng.randrange(3)
    if kind == 0:
        text = change_json(rng, text)
    elif kind == 1:
        text = text.replace(b'"F32"', rng.choice((b'"I32"', b'"U32"', b'"F64"', b'"BF16"', b'"F8_E4M3"', b'"BOOL"')),
                            rng.choice((1, -1)))
    else:
        text = damage(rng, text)
    return struct.pack("<Q", rng.choice((len(text), len(text), len(text), 2**62))) + text + data[8 + length:]


def change_png(rng: random.Random, data: bytes) -> bytes:
    """Change the sizes or the kind of pixels in a PNG's header, with a right checksum."""
    if rng.random() < 0.4 or data[12:16] != b"IHDR":
        return damage(rng, data)
    header = bytearray(data[16:29])
    place = rng.choice((0, 4, 8, 9, 12))
    if len(header) < 13:
        return damage(rng, data)
    header[place:place + (4 if place < 8 else 1)] = (
        struct.pack(">I", rng.choice((0, 1, 9, 40_000, 2**31 - 1))) if place < 8 else bytes([rng.randrange(20)]))
    return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def change_onnx(rng: random.Random, data: bytes) -> bytes:
    """Change the sizes or the type of a graph's input, or the bytes of the file."""
    import onnx

    if rng.random() < 0.6:
        return damage(rng, data)
    try:
        model = onnx.load_model_from_string(data)
        kind = model.graph.input[0].type.tensor_type
        size = rng.choice(kind.shape.dim)
    except Exception:  # damaged before, in ways that protobuf has many errors for
        return damage(rng, data)
    if rng.random() < 0.7:
        size.dim_value = rng.choice((0, 1, 3, 40_000, 2**31, 2**62, -1))
    else:
        kind.elem_type = rng.choice((2, 6, 7, 8, 10, 11, 99))
    return model.SerializeToString()


def change_state(rng: random.Random, data: bytes) -> bytes:
    """Change values of a file that torch wrote: plain ones, or the shapes and types of tensors."""
    import torch

    if rng.random() < 0.4:
        return change_zip(rng, data, damage)
    stored = torch.load(io.BytesIO(data), weights_only=True)
    tensors = [(holder, key) for holder, key in _places(stored) if isinstance(holder[key], torch.Tensor)]
    if tensors and rng.random() < 0.4:
        holder, key = rng.choice(tensors)
        holder[key] = rng.choice((
            holder[key].to(torch.int32), holder[key][..., :0], torch.zeros(3), holder[key].double(), torch.zeros(()),
            holder[key].to(torch.complex64), torch.zeros(1).expand(10**12), torch.empty(10**6, device="meta")))
    else:
        stored = change_value(rng, stored)
    made = io.BytesIO()
    torch.save(stored, made)
    return made.getvalue()


BY_SUFFIX: dict[str, Mutation] = {
    ".json": change_json, ".jsonl": change_lines, ".npz": change_npz, ".npy": change_npy, ".gz": change_gzip,
    ".pt": change_state, ".safetensors": change_safetensors, ".png": change_png, ".onnx": change_onnx}


def mutate(rng: random.Random, suffix: str, data: bytes) -> bytes:
    """Damage a file: mostly in the ways of its format, else its bytes."""
    change = BY_SUFFIX.get(suffix)
    if change is None or rng.random() < 0.25:
        return damage(rng, data)
    try:
        return change(rng, data)
    except Exception:  # it was damaged before, so that it cannot be taken apart
        return damage(rng, data)
