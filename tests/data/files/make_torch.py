#!/usr/bin/env python3
"""Writes small checkpoints beside itself in the layouts of torch.save(), without PyTorch."""
import collections
import io
import os
import pathlib
import pickle
import struct
import sys
import types
import zipfile

here = pathlib.Path(__file__).parent


def module(name, **members):
    made = types.ModuleType(name)
    for key, value in members.items():
        value.__module__ = name
        value.__qualname__ = value.__name__ = key
        setattr(made, key, value)
    sys.modules[name] = made
    return made


def rebuild():  # only named in the pickle, never called
    raise NotImplementedError


class Storage:
    def __init__(self, kind, key, values, code):
        self.kind, self.key, self.values, self.code = kind, key, values, code
        self.view = None

    def raw(self, order="<"):
        return struct.pack(f"{order}{len(self.values)}{self.code}", *self.values)


types_ = {k: type(k, (), {}) for k in ("FloatStorage", "HalfStorage", "DoubleStorage", "LongStorage",
                                       "IntStorage", "ByteStorage", "BoolStorage", "ComplexFloatStorage")}
torch = module("torch", **types_)
utils = module("torch._utils", _rebuild_tensor_v2=type(rebuild)(rebuild.__code__, globals()),
               _rebuild_parameter=type(rebuild)(rebuild.__code__, globals()))


class Tensor:
    def __init__(self, storage, offset, shape, stride):
        self.arguments = (storage, offset, shape, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return utils._rebuild_tensor_v2, self.arguments


class Parameter(Tensor):
    def __reduce__(self):
        return utils._rebuild_parameter, (Tensor(*self.arguments[:4]), True, collections.OrderedDict())


class Pickler(pickle._Pickler):
    legacy = False

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = getattr(torch, value.kind)
        if self.legacy:
            return "storage", kind, value.key, "cpu", len(value.values), value.view
        return "storage", kind, value.key, "cpu", len(value.values)


def dump(value, legacy=False, protocol=2):
    stream = io.BytesIO()
    pickler = Pickler(stream, protocol)
    pickler.legacy = legacy
    pickler.dump(value)
    return stream.getvalue()


def save_zip(name, value, storages, order="<", records=(), protocol=2):
    with zipfile.ZipFile(here / name, "w") as archive:
        def add(member, data):
            archive.writestr(zipfile.ZipInfo("archive/" + member), data)
        add("data.pkl", dump(value, protocol=protocol))
        if order == ">":
            add("byteorder", b"big")
        for storage in storages:
            add("data/" + storage.key, storage.raw(order))
        add("version", b"3\n")
        for member, data in records:
            add(member, data)


def save_legacy(name, value, storages, little=True):
    with open(here / name, "wb") as file:
        file.write(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
        file.write(pickle.dumps(1001, 2))
        file.write(pickle.dumps({"protocol_version": 1001, "little_endian": little,
                                 "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2))
        file.write(dump(value, legacy=True))
        file.write(pickle.dumps([s.key for s in storages], 2))
        for storage in storages:
            file.write(struct.pack("<q", len(storage.values)) + storage.raw())


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/tiller_was_here",)


class Net:
    def __init__(self, weights):
        self.weights = weights


module("user")
module("user.code", Net=Net)

a = Storage("FloatStorage", "0", [float(i) for i in range(12)], "f")
b = Storage("LongStorage", "1", [5, -6], "q")
c = Storage("BoolStorage", "2", [0, 2], "B")
d = Storage("DoubleStorage", "3", [0.5], "d")
weights = collections.OrderedDict([
    ("module.w", Parameter(a, 0, (3, 4), (4, 1))), ("module.t", Tensor(a, 0, (4, 3), (1, 4))),
    ("module.row", Tensor(a, 8, (4,), (1,))), ("module.n", Tensor(b, 0, (2,), (1,))),
    ("module.flag", Tensor(c, 0, (2,), (1,))), ("module.x", Tensor(d, 0, (), ())),
    ("module.none", Tensor(a, 12, (0, 3), (3, 1))), ("module.many", Tensor(d, 0, (2, 2), (0, 0)))])
everything = [a, b, c, d]
save_zip("little.pt", weights, everything)
save_zip("big_endian.pt", weights, everything, order=">")
save_legacy("legacy.pt", weights, everything)
save_legacy("legacy_big_endian.pt", weights, everything, little=False)
a.view = ("0", 8, 4)
save_legacy("legacy_view.pt", {"row": Tensor(a, 0, (4,), (1,))}, [a])
a.view = None
save_zip("evil.pt", {"w": Tensor(a, 0, (3, 4), (4, 1)), "evil": Evil()}, [a])
save_zip("evil_root.pt", Evil(), [])
save_zip("whole.pt", Net({"w": Tensor(a, 0, (12,), (1,))}), [a])
save_zip("script.pt", {"w": Tensor(a, 0, (12,), (1,))}, [a], records=[("code/net.py", b"pass"),
                                                                      ("constants.pkl", b"\x80\x02).")])
save_zip("protocol4.pt", {"w": Tensor(a, 0, (12,), (1,))}, [a], protocol=4)
complex_storage = Storage("ComplexFloatStorage", "0", [1.0, 2.0], "f")
save_zip("complex.pt", {"z": Tensor(complex_storage, 0, (1,), (1,))}, [complex_storage])
save_zip("outside.pt", {"w": Tensor(a, 1, (3, 4), (4, 1))}, [a])
save_zip("tensor.pt", Tensor(a, 0, (12,), (1,)), [a])
m = Storage("FloatStorage", "0", [1.0, 2.0], "f")
v = Storage("FloatStorage", "1", [3.0, 4.0], "f")
group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05, "amsgrad": False, "params": [0]}
save_zip("optimizer_int_step.pt",
         {"state": {0: {"step": 7, "exp_avg": Tensor(m, 0, (2,), (1,)),
                        "exp_avg_sq": Tensor(v, 0, (2,), (1,))}}, "param_groups": [group]}, [m, v])
(here / "page.pt").write_text("\n<!DOCTYPE html>\n<html><title>Sign in</title></html>\n")
(here / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
(here / "edm.pkl").write_bytes(pickle.dumps({"ema": 1}, 4))
