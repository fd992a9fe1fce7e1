#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: make_corpus.py FOLDER makes FOLDER/<target>/*.

Seeds are small files of every container in tests/data, and every old finding in tests/data/fuzz.
"""
import io
import json
import pathlib
import shutil
import struct
import sys
import zipfile

data = pathlib.Path(__file__).resolve().parent.parent / "data"
LIMIT = 8192


def save(folder, target, name, content):
    (folder / target).mkdir(parents=True, exist_ok=True)
    (folder / target / name).write_bytes(content)


def safetensors(entries, metadata=None):
    header, buffer = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, raw in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(buffer), len(buffer) + len(raw)]}
        buffer += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + buffer


def npy(descr, shape, raw):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + raw


def npz(method):
    """A small file of samples: the ones in tests/data are longer than the fuzzers' inputs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("arr_0.npy", npy("|u1", (2, 4, 4, 3), bytes(range(96))))
        archive.writestr("arr_1.npy", npy("<i8", (2,), struct.pack("<2q", 3, 7)))
    return buffer.getvalue()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    for path in sorted([*data.glob("files/*"), *data.glob("*.pt"), *data.glob("images/*")]):
        content = path.read_bytes()
        if content.startswith(b"PK") and path.suffix == ".pt":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith("data.pkl") and len(archive.read(member)) <= LIMIT:
                        save(folder, "pickle", path.stem, archive.read(member))
        if len(content) > LIMIT:
            continue
        if path.suffix in (".pt", ".pkl"):
            legacy = content.startswith(b"\x80\x02\x8a")
            save(folder, "pt_legacy" if legacy else "pt_zip", path.name, content)
            save(folder, "optimizer", path.name, content)
        elif path.suffix in (".npz", ".npy") and path.parent.name == "files":
            save(folder, "npz", path.name, content)
        elif path.parent.name == "images" and path.suffix != ".npz":
            save(folder, "image", path.name, content)
    save(folder, "safetensors", "empty", safetensors([]))
    save(folder, "safetensors", "types", safetensors(
        [("a", "F32", [2, 1], bytes(8)), ("b.c", "BF16", [3], bytes(6)), ("d", "I64", [], bytes(8)),
         ("e", "BOOL", [2], b"\x01\x02"), ("f", "F16", [0, 3], b"")], {"format": "pt", "note": "\u00fc"}))
    save(folder, "npz", "small_stored.npz", npz(zipfile.ZIP_STORED))
    save(folder, "npz", "small_deflated.npz", npz(zipfile.ZIP_DEFLATED))
    for path in data.glob("fuzz/*/*"):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.parent.name / path.name)


main()
