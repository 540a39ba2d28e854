"""Golden samples that were damaged or written to do harm: `instseg check-ir --selftest`."""

import json
import os
import random
import shutil
import struct
import zlib
from functools import cache

import numpy as np

from instance_segmentation.ir.golden import rerun, write_golden
from tests.unit import tiny_models

from .harness import run

BOXES = ((24, 16, 72, 48, 0.9), (8, 8, 40, 56, 0.6))
INPUTS = [np.full((1, 3, 64, 96), value, np.float32) for value in (255, 128, 0)]
VALUES = (None, True, -1, 0, 1, 99, 1e308, -1e308, float("nan"), float("inf"), 10**400, "", "cat", "é", "\ud800", "\0", [], [[]],
          {}, [1, 2, 3, 4], "0" * 5000, "~" * 50, "PPPP", "l0l0l0l0")
RLE = [chr(code) for code in range(48, 112)]


@cache
def original(folder):
    """A folder with a tiny model and its golden samples, made once per process."""
    folder.mkdir()
    path = tiny_models.mask_rcnn(folder / "model.xml", boxes=BOXES, labels=(1, 0),
                                 rt_info=dict(model_type="MaskRCNN", labels="otx_empty_lbl cat dog"))
    write_golden(path, INPUTS)
    return folder


def places(value, found=()):
    """Every container and key of a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield value, key
        yield from places(item)


def mutate_value(value, chance):
    """A value of the record, a little wrong or quite another one."""
    kind = chance.randrange(5)
    if isinstance(value, str) and kind < 3:
        at = chance.randrange(len(value) + 1)
        return (value[:at], value[:at] + chance.choice(RLE) * chance.choice([1, 2, 50, 4000]) + value[at:],
                value * chance.choice([0, 2, 50]))[kind]
    if isinstance(value, (int, float)) and kind < 3 and abs(value) < 1e9:
        return (value * 1000, -value, value + chance.random())[kind]
    if isinstance(value, list) and kind < 2:
        return (value[:-1], value * 2)[kind]
    return chance.choice(VALUES)


def hostile_record(seed, folder):
    """Values of detections.json changed, or its bytes."""
    chance, target = random.Random(seed), folder / "model"
    shutil.copytree(original(folder.parent / f"golden of {os.getpid()}"), target)
    record = target / "golden/detections.json"
    content = json.loads(record.read_text())
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        container, key = chance.choice(list(places(content)))
        if chance.random() < 0.15:
            del container[key]
        else:
            container[key] = mutate_value(container[key], chance)
        if not list(places(content)):
            break
    raw = json.dumps(content).encode("utf-8", "surrogatepass")
    if chance.random() < 0.25:
        raw = spoiled(raw, chance)
    record.write_bytes(raw)
    rerun(target / "model.xml")


def spoiled(raw, chance):
    """Bytes cut off, changed, doubled, or in another encoding."""
    at = chance.randrange(len(raw) + 1)
    return chance.choice([
        lambda: raw[:at], lambda: raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1:], lambda: raw[at:] + raw[:at],
        lambda: raw.decode(errors="replace").encode("utf-16"), lambda: b"\xef\xbb\xbf" + raw, lambda: b"[" * 100_000, lambda: b"",
        lambda: raw[:at] + chance.randbytes(30) + raw[at:]])()


def png_of(width, height):
    """A PNG that says it is of this size and holds nothing."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def hostile_sample(seed, folder):
    """A sample's PNG damaged, of another size, or missing."""
    chance, target = random.Random(seed), folder / "model"
    shutil.copytree(original(folder.parent / f"golden of {os.getpid()}"), target)
    sample = target / "golden" / chance.choice(["1.png", "2.png", "3.png"])
    kind = chance.randrange(4)
    if kind == 0:
        sample.write_bytes(png_of(chance.choice([0, 1, 96, 30_000, 2**31 - 1]), chance.choice([0, 1, 64, 30_000, 2**31 - 1])))
    elif kind == 1:
        sample.unlink()
        if chance.random() < 0.5:
            sample.mkdir()
    else:
        raw = sample.read_bytes()
        for _ in range(chance.choice([1, 3, 10])):
            raw = spoiled(raw, chance) if raw else raw
        sample.write_bytes(raw)
    rerun(target / "model.xml")


def test_records(tmp_path):
    run(hostile_record, 2000, tmp_path).assert_clean()


def test_samples(tmp_path):
    run(hostile_sample, 2000, tmp_path).assert_clean()
