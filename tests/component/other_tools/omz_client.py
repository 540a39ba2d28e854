"""Runs in an environment with OpenVINO 2025 and Open Model Zoo's wrappers: ZOO OUT.npz THRESHOLD MODEL IMAGE…

Does what instance_segmentation_demo.py does with a model; without images only constructs the wrapper and prints whether it
accepts.
"""

import sys

import cv2
import numpy as np

zoo, out, threshold, model, *images = sys.argv[1:]
sys.path[:0] = [zoo, f"{zoo}/openvino/model_zoo"]
from model_api.adapters import OpenvinoAdapter, create_core  # noqa: E402
from model_api.models import MaskRCNNModel, YolactModel  # noqa: E402

adapter = OpenvinoAdapter(create_core(), model)
names = adapter.get_output_layers()
kind = YolactModel if len(adapter.get_input_layers()) == 1 and len(names) == 4 and "proto" in names else MaskRCNNModel
wrapper = kind(adapter, dict(confidence_threshold=float(threshold)), preload=True)
wrapper(np.full((50, 70, 3), 200, np.uint8))  # the constructor does not look at everything that inference needs
found = {}
for number, image in enumerate(images):
    (scores, classes, boxes, masks), _ = wrapper(cv2.imread(image))
    found |= {f"boxes{number}": boxes, f"scores{number}": scores, f"labels{number}": classes.astype(int) - 1,
              f"masks{number}": np.array(masks)}
np.savez_compressed(out, **found)
