"""An exported model as an mmengine model: the test loop, the metric and the mask paste stay the checkpoint's."""

from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from instance_segmentation.inference.masks import paste_rles
from instance_segmentation.ir.info import read_ir
from instance_segmentation.ir.onnx_session import read_onnx
from instance_segmentation.ir.session import compile_ir


@MODELS.register_module()
class OpenVINODetector(BaseModel):
    """Run an IR where an mmdet detector is expected.

    Args:
        xml: The exported model: .xml or .bin, or .onnx for ONNX Runtime.
        device: OpenVINO device.
        options: OpenVINO properties that replace the defaults of `compile_ir`.
    """

    def __init__(self, xml, device="CPU", options=None):
        # no mean, no scale, no padding: the graph takes the resized image as it is
        super().__init__(data_preprocessor=dict(type="DetDataPreprocessor"))
        if Path(xml).suffix == ".onnx":
            self.compiled, self.info = read_onnx(xml)
        else:
            model, self.info = read_ir(xml)
            self.compiled = compile_ir(model, device, options)
        self.dataset_meta, self.input_size = dict(classes=self.info.classes), self.info.input_size
        self.size_mp, self.complexity_gflops = self.info.size_mp, self.info.complexity_gflops

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
        images = inputs.cpu().numpy().astype(np.float32)
        if self.info.channel_order == "RGB":
            images = images[:, ::-1]
        for image, sample in zip(images, data_samples, strict=True):
            sample.pred_instances = self.detect(np.ascontiguousarray(image[None]), sample.metainfo)
        return data_samples

    def detect(self, image, meta):
        """Detections of one image [1, 3, H, W] as InstanceData in pixels of the original image."""
        found = self.compiled(image)
        boxes_net, labels = found["boxes"], found["labels"]
        scale = np.tile(np.asarray(meta["scale_factor"], np.float32), 2)
        boxes_img = boxes_net[:, :4] / scale
        return InstanceData(
            bboxes=torch.from_numpy(boxes_img), scores=torch.from_numpy(boxes_net[:, 4].copy()),
            labels=torch.from_numpy(labels.astype(np.int64)),
            masks=paste_rles(boxes_img, found["masks"], meta["ori_shape"][:2], self.info.mask_threshold))
