"""A model as a function: image in, Prediction in that image's pixels out, whatever runs the network. Needs no torch."""

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.contracts import Contract
from instance_segmentation.inference.masks import paste_rles
from instance_segmentation.inference.resizing import Resize
from instance_segmentation.prediction import Prediction


@dataclass(frozen=True)
class Detector:
    """A network that finds objects.

    Attributes:
        run: The network: an ov.CompiledModel, or a function of what `prepare` returns that gives outputs by name.
        contract: How its outputs are read.
        outputs: Our name of each output → the model's.
        classes: Class names in label order.
        resize: How images become its input.
        rgb: It takes RGB pixels.
        threshold: Lowest score that counts, a number or one per class.
        mask_threshold: Probability from which a pixel belongs to the object.
        info: What the model says about itself, an IrInfo.
        threshold_origin: Who chose `threshold`, in words.
    """

    run: object
    contract: Contract
    outputs: dict
    classes: tuple
    resize: Resize
    rgb: bool = False
    threshold: float | tuple = 0.5
    mask_threshold: float = 0.5
    info: object = None
    threshold_origin: str = "the default"

    def __call__(self, image_bgr):
        """Detect in one image, (H, W, 3) uint8; returns a Prediction in its pixels."""
        inputs, placement = self.prepare(image_bgr)
        return self.predict(self.run(inputs), placement, image_bgr.shape[:2])

    def prepare(self, image_bgr):
        """The network's input for an image.

        Returns:
            [1, 3, h, w] uint8, or a dict of inputs by name, and the image's Placement.
        """
        net, placement = self.resize(image_bgr)
        tensor = np.ascontiguousarray((net[..., ::-1] if self.rgb else net).transpose(2, 0, 1))[None]
        if self.contract.inputs is None:
            return tensor, placement
        inner = np.multiply(image_bgr.shape[:2], placement.scale_xy[::-1])
        return dict(im_data=tensor, im_info=np.float32([[*inner.round(), 1]])), placement

    def predict(self, outputs, placement, size_hw):
        """Read the network's outputs for an image.

        Args:
            outputs: By name.
            placement: The Placement that `prepare` returned.
            size_hw: Height and width of the image in pixels.

        Raises:
            WeightsError: The network found a class that has no name.
        """
        outputs = {ours: outputs[theirs] for ours, theirs in self.outputs.items()}
        lowest = np.float32(self.threshold)  # not float64: 0.9 would exclude a score of 0.9
        found = self.contract.read(outputs, lowest.min(), placement.net_hw)
        if found.labels.max(initial=-1) >= len(self.classes):
            raise WeightsError(f"the model found an object of class {found.labels.max() + 1}, but there are only "
                               f"{len(self.classes)} class names; --labels needs one line per class")
        order = np.argsort(-found.scores, kind="stable")
        order = order[found.scores[order] >= np.broadcast_to(lowest, len(self.classes))[found.labels[order]]]
        boxes = placement.to_image(found.boxes[order]).clip(0, np.float32(size_hw[::-1] * 2))
        windows = placement.to_image(found.windows[order])
        rles = paste_rles(windows, found.masks[order], size_hw, self.mask_threshold)
        if found.windows is not found.boxes:
            rles = [_cut(rle, box, size_hw) for rle, box in zip(rles, boxes, strict=True)]
        return Prediction(boxes, found.scores[order], found.labels[order], rles, self.classes, tuple(size_hw))


def _cut(rle, box, size_hw):
    """What of a mask lies in the box."""
    inside = coco_mask.frPyObjects(np.float64([[*box[:2], *(box[2:] - box[:2])]]), *size_hw)
    return coco_mask.merge([rle, *inside], intersect=True)
