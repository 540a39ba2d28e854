"""mmdet's YOLACT as a graph of the four outputs that its clients read."""

import torch
from torch import nn

from instance_segmentation.inference.contracts import YOLACT as CONTRACT
from instance_segmentation.ir.conversion import Pixels, convert, finish, outputs_of


def build_ir(model, channel_order="BGR"):
    """Build the graph of a checked network, `ContractYOLACT`.

    Returns:
        An ov.Model with the outputs of `ContractYOLACT.answer`, one row per anchor: clients threshold, suppress and add up masks.
    """
    whole = convert(Whole(model, reverse=channel_order == "RGB"), torch.rand(1, 3, *model.input_size))
    return finish(whole, "yolact", **dict(zip(CONTRACT.outputs, outputs_of(whole), strict=True)))


def stage_names(model):
    """Names of intermediate results: there are none, the outputs are the network's own."""
    return []


class Whole(nn.Module):
    """The network with the data preprocessor in front."""

    def __init__(self, model, reverse):
        super().__init__()
        self.model, self.pixels = model, Pixels(model, reverse)

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → the four outputs."""
        return self.model.answer(self.pixels(image))
