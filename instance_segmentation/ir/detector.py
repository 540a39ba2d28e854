"""An exported model as an mmengine model: the test loop, the metric and the mask paste stay the checkpoint's."""

from functools import cached_property
from pathlib import Path

import numpy as np
from mmdet.registry import MODELS
from mmengine.model import BaseModel

from instance_segmentation.engine.tested_detector import as_instances
from instance_segmentation.inference.ahead import infer_ahead
from instance_segmentation.inference.contracts import contract_of
from instance_segmentation.inference.detector import Detector
from instance_segmentation.inference.resizing import Placement, Resize
from instance_segmentation.ir.info import read_ir
from instance_segmentation.ir.onnx_session import read_onnx
from instance_segmentation.ir.preprocessing import shape_of
from instance_segmentation.ir.session import compile_ir


@MODELS.register_module()
class ExportedDetector(BaseModel):
    """Run an IR or an ONNX model where an mmdet detector is expected.

    Args:
        path: .xml or .bin, or .onnx for ONNX Runtime.
        device: OpenVINO device; ONNX Runtime runs on the CPU.
        options: OpenVINO properties that replace the defaults of `compile_ir`.
    """

    def __init__(self, path, device="CPU", options=None):
        # no mean, no scale, no padding: the graph takes the resized image as it is
        super().__init__(data_preprocessor=dict(type="DetDataPreprocessor"))
        self.device_name, self.options, self.ir = device, options or {}, None
        if Path(path).suffix == ".onnx":
            self.compiled, self.info = read_onnx(path)
            inputs, outputs = self.compiled.shapes
        else:
            self.ir, self.info = read_ir(path)
            self.compiled = compile_ir(self.ir, device, options)
            inputs, outputs = ({port.any_name: shape_of(port) for port in ports} for ports in (self.ir.inputs, self.ir.outputs))
        contract = contract_of(inputs, outputs, path)
        self.reader = Detector(None, contract, contract.names(outputs), self.info.classes, Resize(size_hw=self.info.input_size),
                               threshold=self.info.score_threshold, mask_threshold=self.info.mask_threshold)
        self.dataset_meta, self.input_size = dict(classes=self.info.classes), self.info.input_size
        self.size_mp, self.complexity_gflops = self.info.size_mp, self.info.complexity_gflops
        self.class_thresholds = self.info.class_thresholds

    @cached_property
    def compiled_for_throughput(self):
        """The same graph, compiled for many images instead of for one; ONNX Runtime makes no difference."""
        if not self.ir:
            return self.compiled
        return compile_ir(self.ir, self.device_name, {"PERFORMANCE_HINT": "THROUGHPUT", **self.options})

    def forward(self, inputs, data_samples=None, mode="predict"):
        """Detect in a batch, one image after the other.

        Args:
            inputs: [B, 3, H, W] in 0…255, channels as the pipeline made them (BGR).
            data_samples: One DetDataSample per image with `scale_factor` (w, h) and `ori_shape`.
            mode: Only `predict`.

        Returns:
            The data samples with `pred_instances`: `bboxes` (N, 4) x1 y1 x2 y2 in pixels of the original image, `scores`
            (N,), `labels` (N,), `masks`, a list of N RLEs.
        """
        if mode != "predict":
            raise NotImplementedError(f"an exported model can only predict, not '{mode}'")
        for image, sample in zip(inputs, data_samples, strict=True):
            sample.pred_instances = self.in_image(self.compiled(self.as_input(image, sample.metainfo)), sample.metainfo)
        return data_samples

    def stream(self, batches):
        """Detect in many batches, several images at a time.

        Args:
            batches: Iterable of what the loader makes: `inputs`, a list of [3, H, W] uint8 tensors, and `data_samples`.

        Yields:
            Each batch, in order, with its data samples as `forward` returns them.
        """
        for (batch, index), found in infer_ahead(self.compiled_for_throughput, self._images(batches)):
            samples = batch["data_samples"]
            samples[index].pred_instances = self.in_image(found, samples[index].metainfo)
            if index == len(samples) - 1:
                yield batch, samples

    def _images(self, batches):
        for batch in batches:
            for index, image in enumerate(batch["inputs"]):
                yield (batch, index), self.as_input(image, batch["data_samples"][index].metainfo)

    def as_input(self, image, meta):
        """The graph's input [1, 3, H, W], or inputs by name, from the pipeline's image [3, H, W] BGR and what is known of it."""
        image = image.cpu().numpy().astype(np.float32)
        tensor = np.ascontiguousarray(image[::-1] if self.info.channel_order == "RGB" else image)[None]
        return self.reader.inputs(tensor, meta["ori_shape"][:2], meta["scale_factor"])

    def in_image(self, found, meta):
        """The graph's outputs for one image as InstanceData in pixels of the original image."""
        placement = Placement(tuple(meta["scale_factor"]), (0, 0), self.input_size)
        return as_instances(self.reader.read(found, placement, meta["ori_shape"][:2]))
