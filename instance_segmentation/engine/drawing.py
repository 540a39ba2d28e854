"""Hook: write each test image with its detections drawn, for every kind of weights."""

import os
from pathlib import Path

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from instance_segmentation.engine.mask_head import as_rles
from instance_segmentation.errors import MediaError
from instance_segmentation.inference.drawing import draw
from instance_segmentation.prediction import Prediction
from instance_segmentation.writing import Inputs

LOWEST_DRAWN = 0.3  # MMDetection's, for a network without thresholds of its own


def drawing_threshold(model):
    """Lowest score that is drawn of a model's detections: a number, or one per class where the model has its own."""
    return getattr(model, "class_thresholds", None) or LOWEST_DRAWN


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draw during the test loop.

    Args:
        output: Folder for the pictures; sub-folders of nested images are kept.
        root: Folder that the pictures' names are relative to.
        classes: Class names in label order.
        threshold: Lowest score that is drawn, a number or one per class.
    """

    def __init__(self, output, root, classes, threshold):
        self.output, self.root, self.classes, self.threshold = Path(output), root, tuple(classes), threshold

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw this batch's images."""
        for sample in outputs:
            image = cv2.imread(sample.img_path)
            path = self.output / os.path.relpath(sample.img_path, self.root)
            Inputs([sample.img_path]).refuse(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), draw(image, as_prediction(sample, self.classes).above(self.threshold))):
                raise MediaError(f"{path}: cannot be written; is the folder given to --save-output-to writable?")


def as_prediction(sample, classes):
    """Turn mmdet's DetDataSample into a Prediction."""
    found = sample.pred_instances
    return Prediction(found.bboxes.float().cpu().numpy(), found.scores.float().cpu().numpy(),
                      found.labels.cpu().numpy().astype(np.int64), as_rles(found.masks), tuple(classes),
                      tuple(sample.ori_shape[:2]))
