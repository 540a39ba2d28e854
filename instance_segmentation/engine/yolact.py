"""YOLACT whose predictions are read from four tensors, by the code that also reads the exported network's."""

import torch
from mmdet.models.detectors import YOLACT
from mmdet.registry import MODELS

from instance_segmentation.engine.tested_detector import as_instances
from instance_segmentation.inference import contracts
from instance_segmentation.inference.detector import Detector
from instance_segmentation.inference.resizing import Placement, Resize


@MODELS.register_module()
class ContractYOLACT(YOLACT):
    """mmdet's YOLACT with the post-processing of every client of YOLACT's IRs, see `inference.contracts`.

    It differs from mmdet's in three things. NMS is the usual one: mmdet's fast NMS also lets boxes suppress others that were
    suppressed themselves, so what it keeps is a part of this. Masks are cut at the box in the image, not one prototype's pixel
    beside it. They leave as RLEs.
    """

    def answer(self, inputs):
        """What the network says about every anchor; all that an exported graph computes.

        Args:
            inputs: One normalised image, [1, 3, H, W].

        Returns:
            boxes [1, P, 4] x1 y1 x2 y2 as shares of the input, conf [1, P, classes + 1] with background first, mask [1, P, k]
            coefficients, proto [1, h, w, k].
        """
        head, (height, width) = self.bbox_head, inputs.shape[2:]
        features = self.extract_feat(inputs)
        scores, deltas, coefficients = (
            torch.cat([level.permute(0, 2, 3, 1).reshape(1, -1, columns) for level in levels], 1)
            for levels, columns in zip(head(features), (head.cls_out_channels, 4, head.num_protos), strict=True))
        sizes = [(int(level.shape[2]), int(level.shape[3])) for level in features]
        anchors = torch.cat(head.prior_generator.grid_priors(sizes, device=inputs.device))
        limits = torch.tensor([width, height, width, height], dtype=torch.float32, device=inputs.device)
        boxes = torch.minimum(head.bbox_coder.decode(anchors, deltas[0]).clamp(min=0), limits)[None] / limits
        return boxes, scores.softmax(-1).roll(1, -1), coefficients, self.mask_head.protonet(features[0]).permute(0, 2, 3, 1)

    def loss(self, batch_inputs, batch_data_samples, **kwargs):
        """The losses, in evaluation too: there mmdet's mask head leaves out its semantic maps, and then misses them."""
        usual = self.mask_head.training
        self.mask_head.training = True  # the flag alone: the head has no layer that behaves differently
        try:
            return super().loss(batch_inputs, batch_data_samples, **kwargs)
        finally:
            self.mask_head.training = usual

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        """Detect in a batch.

        Args:
            batch_inputs: [B, 3, H, W], normalised.
            batch_data_samples: One DetDataSample per image with `scale_factor` (w, h) and `ori_shape`.
            rescale: Whether boxes and masks leave in pixels of the original image or of the input.

        Returns:
            The data samples with `pred_instances`: `bboxes` (N, 4), `scores` (N,), `labels` (N,), `masks`, a list of N RLEs.
        """
        size_hw = tuple(batch_inputs.shape[2:])
        reader = Detector(None, contracts.YOLACT, {name: name for name in contracts.YOLACT.outputs},
                          tuple(range(self.bbox_head.num_classes)), Resize(size_hw=size_hw),
                          threshold=self.test_cfg.score_thr, mask_threshold=self.test_cfg.mask_thr_binary)
        for image, sample in zip(batch_inputs, batch_data_samples, strict=True):
            outputs = dict(zip(reader.outputs, (tensor.cpu().numpy() for tensor in self.answer(image[None])), strict=True))
            scale, frame = (sample.scale_factor, sample.ori_shape[:2]) if rescale else ((1.0, 1.0), size_hw)
            sample.pred_instances = as_instances(reader.read(outputs, Placement(tuple(scale), (0, 0), size_hw), frame))
        return batch_data_samples
