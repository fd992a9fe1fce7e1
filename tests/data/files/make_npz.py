#!/usr/bin/env python3
"""Writes the numpy fixtures of tests/runtime/files_npz_test.cpp beside itself."""
import pathlib

import numpy as np

here = pathlib.Path(__file__).parent
count = np.arange(24).reshape(2, 3, 4)
kinds = {"f2": "f2", "f4": "f4", "f8": "f8", "i1": "i1", "i2": "i2", "i4": "i4", "i8": "i8", "u1": "u1"}
arrays = {name: count.astype(kind) for name, kind in kinds.items()}
arrays["bool"] = count % 2 == 0
arrays["scalar"] = np.array(5, dtype="i8")
arrays["empty"] = np.zeros((0, 3), dtype="f4")
arrays["vector"] = np.arange(1000, dtype="f4")
arrays["fortran"] = np.asfortranarray(count.astype("f4"))
np.savez(here / "stored.npz", **arrays)
np.savez_compressed(here / "deflated.npz", **arrays)
np.savez(here / "odd.npz", good=count, big=count.astype(">f4"), text=np.array(["a", "bc"]),
         objects=np.array([None, {}], dtype=object), complex=count.astype("c8"),
         records=np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]), deep=np.zeros((1,) * 8, dtype="f4"))
np.save(here / "plain.npy", count.astype("f4"))
with open(here / "version2.npy", "wb") as file:
    np.lib.format.write_array(file, np.asfortranarray(count.astype("f8")), version=(2, 0))
