"""Any Detector as an mmengine model, so that the test loop and the metric judge it like a checkpoint."""

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData


class TestedDetector(BaseModel):
    """Evaluate a network whose images are resized by its Detector, not by the template's pipeline.

    Args:
        detector: An `inference.detector.Detector`.
    """

    input_size = None  # the pipeline shall not resize

    def __init__(self, detector):
        super().__init__(data_preprocessor=dict(type="DetDataPreprocessor"))
        self.detector, self.dataset_meta = detector, dict(classes=detector.classes)

    def forward(self, inputs, data_samples=None, mode="predict"):
        """Detect in a batch, one image after the other.

        Args:
            inputs: B images [3, H, W] uint8 BGR of the original size.
            data_samples: One DetDataSample per image.
            mode: Only `predict`.

        Returns:
            The data samples with `pred_instances`, in pixels of the original image, masks as RLEs.
        """
        if mode != "predict":
            raise NotImplementedError(f"an evaluated model can only predict, not '{mode}'")
        for image, sample in zip(inputs, data_samples, strict=True):
            found = self.detector(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy().astype(np.uint8)))
            sample.pred_instances = as_instances(found)
        return data_samples


def as_instances(found):
    """A Prediction as mmengine's InstanceData."""
    return InstanceData(bboxes=torch.from_numpy(found.boxes), scores=torch.from_numpy(found.scores),
                        labels=torch.from_numpy(found.labels), masks=found.rles)
