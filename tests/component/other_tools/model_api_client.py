"""Runs in an environment with openvino-model-api: MODEL OUT.npz THRESHOLD IMAGE…; writes what Model API finds."""

import sys

import cv2
import numpy as np
from model_api.models import Model

model, out, threshold, *images = sys.argv[1:]
wrapper = Model.create_model(model, configuration=dict(confidence_threshold=float(threshold)))
found = {}
for number, image in enumerate(images):
    result = wrapper(cv2.imread(image))
    found |= {f"boxes{number}": result.bboxes, f"scores{number}": result.scores, f"labels{number}": result.labels - 1,
              f"masks{number}": result.masks, f"names{number}": np.array(result.label_names or [], str)}
np.savez_compressed(out, **found)
