"""An exported model as an mmengine model: the test loop, the metric and the mask paste stay the checkpoint's."""

from dataclasses import replace

import numpy as np
from mmdet.registry import MODELS
from mmengine.model import BaseModel

from instance_segmentation.engine.tested_detector import as_instances
from instance_segmentation.inference.ahead import infer_ahead
from instance_segmentation.inference.exported import LoadOptions, load_exported
from instance_segmentation.inference.resizing import Placement


@MODELS.register_module()
class ExportedDetector(BaseModel):
    """Run an IR or an ONNX model where an mmdet detector is expected.

    Images may come resized by the pipeline, or whole: those it resizes itself, as the model says (`resize_type`).

    Args:
        path: .xml or .bin, or .onnx for ONNX Runtime.
        device: OpenVINO device; ONNX Runtime runs on the CPU.
        options: OpenVINO properties that replace the defaults of `compile_ir`.
    """

    can_resize = True  # see `engine.evaluation.fit_pipeline`

    def __init__(self, path, device="CPU", options=None):
        # no mean, no scale, no padding: the graph takes the resized image as it is
        super().__init__(data_preprocessor=dict(type="DetDataPreprocessor"))
        reader = load_exported(path, LoadOptions(threshold=0.0, device=device, properties=options))
        self.info = reader.info
        self.reader, self.compiled = replace(reader, threshold=self.info.score_threshold), reader.run
        self.dataset_meta, self.input_size = dict(classes=self.info.classes), reader.resize.size_hw
        self.resize_type, self.pad_value = self.info.resize_type, self.info.pad_value
        self.size_mp, self.complexity_gflops = self.info.size_mp, self.info.complexity_gflops
        self.class_thresholds = self.info.class_thresholds

    @property
    def compiled_for_throughput(self):
        """The same graph, compiled for many images instead of for one; ONNX Runtime makes no difference."""
        return self.reader.run_many

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
        image = image.cpu().numpy()
        if "scale_factor" not in meta:
            return self.reader.prepare(np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8))[0]
        image = image.astype(np.float32)
        tensor = np.ascontiguousarray(image[::-1] if self.reader.rgb else image)[None]
        return self.reader.inputs(tensor, meta["ori_shape"][:2], meta["scale_factor"])

    def in_image(self, found, meta):
        """The graph's outputs for one image as InstanceData in pixels of the original image."""
        size_hw = tuple(meta["ori_shape"][:2])
        placement = (Placement(tuple(meta["scale_factor"]), (0, 0), self.input_size) if "scale_factor" in meta
                     else self.reader.resize.place(size_hw)[0])
        return as_instances(self.reader.read(found, placement, size_hw))
