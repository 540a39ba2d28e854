"""Both sides of the parity gate for YOLACT, whose outputs are the network's own: NMS and masks are the reader's."""

import numpy as np
import torch

from instance_segmentation.inference.contracts import YOLACT as CONTRACT
from instance_segmentation.ir.parity_graph import Graph
from instance_segmentation.ir.parity_images import prepared
from instance_segmentation.ir.yolact import stage_names


def graph(exported, channel_order, model):
    """The exported model as a `parity_graph.Graph`."""
    return Graph(exported, channel_order, stage_names(model))


@torch.inference_mode()
def run_checkpoint(model, image):
    """The checkpoint's outputs by name, of a [3, H, W] uint8 BGR tensor."""
    inputs, _ = prepared(model, image)
    return dict(zip(CONTRACT.outputs, (tensor.numpy() for tensor in model.answer(inputs)), strict=True))


def chosen_cells(model):
    """No cell of a mask is computed in a way that rounding chooses."""
    return 0.0


def same_in_parts(model, image, found, stages, tolerance):
    """Whether every anchor has the same box, scores and coefficients on both sides, so that only the reader's NMS tied.

    Args:
        model: The checkpoint's network.
        image: [3, H, W] uint8 BGR tensor.
        found: Not needed here.
        stages: The graph's outputs by name.
        tolerance: `box_px`, `score` and `maps` bound the differences.
    """
    height, width = model.input_size
    limits = dict(boxes=tolerance.box_px / np.float32([width, height, width, height]), conf=tolerance.score,
                  mask=tolerance.maps, proto=tolerance.maps)
    own = run_checkpoint(model, image)
    # prototypes have no bound: their rounding grows with them
    return all((np.abs(own[name] - stages[name]) <= limits[name] * max(1, np.abs(own[name]).max() / 100)).all()
               for name in CONTRACT.outputs)
