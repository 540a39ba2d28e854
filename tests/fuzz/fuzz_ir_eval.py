"""The models of test_fuzz_ir in the test loop's place. The harness imports this before it watches: torch takes seconds."""

import contextlib
import random

import torch
from mmdet.structures import DetDataSample

from instance_segmentation.engine import register
from instance_segmentation.errors import InstSegError, WeightsError

from .test_fuzz_ir import hostile_metadata, hostile_onnx, hostile_weights, hostile_xml

register("Testing")
from instance_segmentation.ir.detector import ExportedDetector  # noqa: E402  its class goes into the registry


def hostile_to_eval(seed, folder):
    """What eval.py loads: every mutation of test_fuzz_ir, in the model that the test loop runs."""
    chance = random.Random(seed)
    with contextlib.suppress(InstSegError):
        chance.choice([hostile_metadata, hostile_xml, hostile_weights, hostile_onnx])(seed, folder)
    path = next(file for name in ("model.onnx", "model.xml") if (file := folder / name).exists())
    model = ExportedDetector(path)
    sample, resized = DetDataSample(metainfo=dict(ori_shape=(128, 192), img_id=1)), chance.random() < 0.5
    if resized:
        sample.set_metainfo(dict(scale_factor=(0.5, 0.5)))
        if model.input_size != (64, 96):
            raise WeightsError("the pipeline would resize to the model's own size")
    model.forward(torch.full((1, 3, 64, 96) if resized else (1, 3, 128, 192), 255, dtype=torch.uint8), [sample])
