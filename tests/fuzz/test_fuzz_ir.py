"""Exported models that were damaged or written to do harm: loaded, run on an image, explained by check-ir, given to eval.

Ours, those of other tools, and ONNX models; mutated are the graph's XML, the weights, the metadata, and where ONNX weights lie.
"""

import contextlib
import json
import os
import random
import re
import shutil
from functools import cache
from xml.sax.saxutils import quoteattr

import numpy as np

from instance_segmentation.cli import main
from instance_segmentation.inference.exported import LoadOptions, load_exported
from tests.unit import tiny_models

from .harness import run

WHITE = np.full((64, 96, 3), 255, np.uint8)
NAMES = dict(model_type="MaskRCNN", task_type="instance_segmentation", resize_type="standard", pad_value="0",
             labels="otx_empty_lbl cat dog", label_ids="None 0 1", reverse_input_channels="False", confidence_threshold="0.3",
             label_info=json.dumps(dict(label_names=["cat", "dog"], label_ids=["0", "1"], label_groups=[["cat", "dog"]])))
FACTS = dict(classes=["cat", "dog"], input_size=[64, 96], template="tiny", channel_order="BGR", mask_threshold=0.5,
             class_thresholds=[0.3, 0.4], score_threshold=0.05, runtime=dict(LATENCY=dict(NUM_STREAMS=1)), size_mp=1.0,
             complexity_gflops=2.0, origin=dict(version="0.1.0", precision="FP32", checkpoint="best.pth"))
OURS = NAMES | dict(instseg_export=json.dumps(FACTS))
MAKERS = (
    lambda path: tiny_models.mask_rcnn(path, rt_info=OURS), lambda path: tiny_models.mask_rcnn(path, rt_info=OURS),
    lambda path: tiny_models.mask_rcnn(path, batch=True, rt_info=NAMES), tiny_models.getitune, tiny_models.segmentoly,
    tiny_models.yolact, tiny_models.yolo, tiny_models.rf_detr, lambda path: tiny_models.getitune(path, whole_masks=True))
VALUES = (None, True, -1, 0, 0.5, 2, 1e308, float("nan"), float("inf"), 10**400, "", "cat", "\u001b[31m", "\u202e", "NaN", "-1",
          "1e999", [], [[]], {}, [1, 2, 3, 4], [None] * 3, dict(CACHE_DIR="/tmp/harm"),
          dict(LATENCY=dict(CACHE_DIR="cache", NUM_STREAMS=10**9)), "x" * 100_000)
TEXTS = ("", " ", "nan", "inf", "-1", "1e999", "0 0 0", "1 2", "a b c", "true", "YES", "{", "[]", "{}", "null", "[" * 5000,
         "fit_max", "fit_to_window", "crop", "YOLO", "DETRInstSeg", "percentile",
         "9" * 5000, "\u001b]0;x\u0007", "cat " * 50_000, "../../x")
OPTIONS = (dict(), dict(labels=("cat", "dog")), dict(labels=("cat", "dog", "cow"), threshold=0.0), dict(layout="[NHWC]"),
           dict(resize="fit_to_window"), dict(resize="fit_max", limits=(64, 96)), dict(mean=(1.0, 2.0, 3.0), labels=("a", "b")),
           dict(precision="bf16"), dict(speed="fast"))


@cache
def originals(folder):
    """Models of all kinds, made once per process: the .xml files."""
    folder.mkdir()
    return [maker(folder / f"{number}.xml") for number, maker in enumerate(MAKERS)]


def copied(chance, folder):
    """A copy of one of the originals."""
    source = chance.choice(originals(folder.parent / f"models of {os.getpid()}"))
    for suffix in (".xml", ".bin"):
        shutil.copyfile(source.with_suffix(suffix), folder / f"model{suffix}")
    return folder / "model.xml"


def use(path, chance):
    """Load and run a model as the demo does, and explain it; one of the two may refuse it, but none may fail otherwise."""
    with contextlib.suppress(SystemExit):
        main.main(["check-ir", str(path)])
    model = load_exported(path, LoadOptions(**chance.choice(OPTIONS)))
    found = model(WHITE)
    found.masks()


def mutated_value(value, chance):
    if isinstance(value, list) and value and chance.random() < 0.4:
        return chance.choice([value[:-1], value * 2, [*value[:-1], chance.choice(VALUES)]])
    if isinstance(value, dict) and value and chance.random() < 0.4:
        return {**value, chance.choice(list(value)): chance.choice(VALUES)}
    return chance.choice(VALUES)


def hostile_metadata(seed, folder):
    """Entries of `model_info` changed, among them our own JSON."""
    chance = random.Random(seed)
    path = copied(chance, folder)
    text = path.read_text(encoding="utf-8")
    for _ in range(chance.choice([1, 1, 2, 4])):
        facts = dict(FACTS)
        for key in chance.sample(list(facts), chance.choice([1, 1, 3])):
            facts[key] = mutated_value(facts[key], chance)
        own = json.dumps(facts)
        own = own[:chance.randrange(len(own))] if chance.random() < 0.1 else own
        key = chance.choice([*OURS, "mean_values", "scale_values", "intensity_mode", "input_dtype", "getitune_version",
                             "intensity_max_value", "instseg_export", "instseg_export"])
        value = own if key == "instseg_export" else chance.choice([*TEXTS, own])
        entry = f"<{key} value={quoteattr(_xml(value))} />"
        text = re.sub(rf"<{key} value=\"[^\"]*\" />", "", text)
        text = (text.replace("</model_info>", f"{entry}</model_info>") if "</model_info>" in text
                else text.replace("</rt_info>\n</net>", f"<model_info>{entry}</model_info></rt_info></net>"))
    path.write_text(text, encoding="utf-8")
    use(path, chance)


def _xml(text):
    """Text without what XML cannot hold; a hostile file may hold the rest."""
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd]", "?", text)


def hostile_xml(seed, folder):
    """The graph changed: numbers, attributes, layers, edges, or its bytes."""
    chance = random.Random(seed)
    path = copied(chance, folder)
    text = path.read_text(encoding="utf-8")
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        text = chance.choice([changed_number, changed_attribute, moved_lines, spoiled_text])(text, chance)
    path.write_text(text, encoding="utf-8")
    use(path, chance)


NUMBERS = ("0", "1", "-1", "2", "3", "5", "64", "4096", "99999999", "2147483648", "-9223372036854775808",
           "18446744073709551616", "?", "x", "")
ATTRIBUTES = ("f32", "f16", "i64", "i32", "u8", "u1", "boolean", "string", "dynamic", "nonsense", "Relu", "Const", "Parameter",
              "Result", "Loop", "NonMaxSuppression", "opset1", "opset13", "opset99", "extension", "")


def changed_number(text, chance):
    spots = list(re.finditer(r"(?<=[>\",])-?\d+(?=[<\",])", text))
    return _replaced(text, chance, spots, NUMBERS)


def changed_attribute(text, chance):
    spots = list(re.finditer(r'(?<=type=")[^"]*|(?<=precision=")[^"]*|(?<=version=")[^"]*|(?<=shape=")[^"]*', text))
    return _replaced(text, chance, spots, (*ATTRIBUTES, *NUMBERS))


def _replaced(text, chance, spots, values):
    if not spots:
        return text
    spot = chance.choice(spots)
    return text[:spot.start()] + chance.choice(values) + text[spot.end():]


def moved_lines(text, chance):
    lines = text.splitlines(keepends=True)
    at, length = chance.randrange(len(lines)), chance.choice([1, 1, 5, 20])
    block = lines[at:at + length]
    rest = lines[:at] + lines[at + length:]
    if chance.random() < 0.5:
        at = chance.randrange(len(rest) + 1)
        rest[at:at] = block * chance.choice([1, 2])
    return "".join(rest)


def spoiled_text(text, chance):
    at = chance.randrange(len(text) + 1)
    return chance.choice([text[:at], text[:at] + chance.choice("<>&\"'/\0é") + text[at:], text[at:], text[:at] + text[at + 9:],
                          '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + text])


def hostile_weights(seed, folder):
    """The .bin cut off, filled with other bytes, or with values that are no numbers."""
    chance = random.Random(seed)
    path = copied(chance, folder)
    weights = path.with_suffix(".bin")
    raw = bytearray(weights.read_bytes())
    for _ in range(chance.choice([1, 3, 30])):
        kind, at = chance.randrange(4), chance.randrange(max(len(raw), 1))
        if kind == 0:
            del raw[at:at + chance.choice([1, 8, 1000])]
        elif kind == 1:
            raw[at:at + 8] = chance.randbytes(8)
        else:
            special = np.float32(chance.choice([np.nan, np.inf, -np.inf, 1e38, -1e38, 0, -1, 1e9])).tobytes()
            at -= at % 4
            raw[at:at + 4 * chance.choice([1, 2, 200])] = special * chance.choice([1, 2, 200])
    weights.write_bytes(raw)
    use(path, chance)


@cache
def onnx_originals(folder):
    """ONNX models with their weights inside, as bytes."""
    folder.mkdir()
    options = (dict(), dict(name="data", nhwc=True), dict(element_type="UINT8"),
               dict(metadata=NAMES | dict(mean_values="1 2 3")))
    return [tiny_models.onnx_mask_rcnn(folder / f"{number}.onnx", **{"metadata": OURS, **option}).read_bytes()
            for number, option in enumerate(options)]


PLACES = ("weights.bin", "../weights.bin", "/etc/passwd", "sub/../../x", "", ".", "/dev/zero", "a\0b",
          "é", "model.onnx", "x" * 5000)


def hostile_onnx(seed, folder):
    """An ONNX model whose bytes, metadata or places of weights are changed."""
    import onnx
    chance = random.Random(seed)
    raw = chance.choice(onnx_originals(folder.parent / f"onnx of {os.getpid()}"))
    if chance.random() < 0.5:
        raw = bytearray(raw)
        for _ in range(chance.choice([1, 2, 10])):
            at = chance.randrange(len(raw))
            raw[at:at + chance.choice([0, 1, 1, 20])] = chance.randbytes(chance.choice([0, 1, 1, 20]))
        raw = bytes(raw)
    else:
        proto = onnx.load_from_string(raw)
        for entry in chance.sample(list(proto.metadata_props), 2):
            entry.value = _xml(chance.choice(TEXTS))
        if chance.random() < 0.7:
            tensor = chance.choice(proto.graph.initializer)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in dict(location=chance.choice(PLACES), offset=chance.choice(NUMBERS),
                                   length=chance.choice(NUMBERS)).items():
                item = tensor.external_data.add()
                item.key, item.value = key, value
            (folder / "weights.bin").write_bytes(bytes(10_000))
        raw = proto.SerializeToString()
    (folder / "model.onnx").write_bytes(raw)
    use(folder / "model.onnx", chance)


def test_metadata(tmp_path):
    run(hostile_metadata, 2000, tmp_path).assert_clean()


def test_xml(tmp_path):
    run(hostile_xml, 2000, tmp_path).assert_clean()


def test_weights(tmp_path):
    run(hostile_weights, 2000, tmp_path).assert_clean()


def test_onnx(tmp_path):
    run(hostile_onnx, 2000, tmp_path).assert_clean()


def test_eval(tmp_path):
    from .fuzz_ir_eval import hostile_to_eval  # here, for it loads torch
    run(hostile_to_eval, 2000, tmp_path).assert_clean()
