"""The three parts of an mmdet Mask R-CNN that are pure tensor code; `ov.convert_model` turns each into a graph.

What lies between them (proposals, RoI features, decoding, NMS) is written in OpenVINO operations in `graph.py`.
"""

import warnings

import openvino as ov
import torch
from torch import nn
from torch.nn import functional


class Trunk(nn.Module):
    """Backbone, neck and RPN convolutions, with the data preprocessor in front.

    Args:
        model: mmdet detector in eval mode.
        reverse: Whether the image's channels are in the other order than the pipeline's BGR.
    """

    def __init__(self, model, reverse):
        super().__init__()
        self.model = model
        self.preprocessor = model.data_preprocessor
        self.reverse = reverse != self.preprocessor._channel_conversion
        height, width = model.input_size
        divisor = self.preprocessor.pad_size_divisor
        self.padding = (0, -width % divisor, 0, -height % divisor)  # left, right, top, bottom

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → feature maps, then objectness [1, A, h, w] and deltas [1, 4A, h, w] per level."""
        if self.reverse:
            image = image[:, [2, 1, 0]]
        if self.preprocessor._enable_normalize:
            image = (image - self.preprocessor.mean) / self.preprocessor.std
        if any(self.padding):
            image = functional.pad(image, self.padding, value=float(self.preprocessor.pad_value))
        features = self.model.extract_feat(image)
        scores, deltas = self.model.rpn_head(features)
        return (*features, *(score.sigmoid() for score in scores), *deltas)


class BoxHead(nn.Module):
    """RoI features [N, C, s, s] → class probabilities [N, classes + 1] and box deltas [N, 4 · classes] or [N, 4]."""

    def __init__(self, model):
        super().__init__()
        self.head = model.roi_head.bbox_head

    def forward(self, features):
        """Return probabilities and deltas."""
        logits, deltas = self.head(features)
        return logits.softmax(-1), deltas


class MaskHead(nn.Module):
    """RoI features [N, C, s, s] → mask probabilities [N, classes, m, m]; one channel when class-agnostic."""

    def __init__(self, model):
        super().__init__()
        self.head = model.roi_head.mask_head

    def forward(self, features):
        """Return the probabilities."""
        return self.head(features).sigmoid()


def convert(module, shape):
    """Convert a module with one input to an ov.Model.

    Args:
        module: An nn.Module in eval mode.
        shape: Input shape; -1 marks a dynamic dimension.
    """
    example = torch.rand([4 if side < 0 else side for side in shape])
    with warnings.catch_warnings(), torch.no_grad():
        # tracing fixes shapes and branches; that is wanted here, the input size never changes
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        # the tracer looks at every property of every module, mmdet's deprecated ones included
        warnings.filterwarnings("ignore", "DeprecationWarning", UserWarning)
        traced = torch.jit.trace(module.eval(), example, check_trace=False)  # the check runs the network twice more
        return ov.convert_model(traced, example_input=example, input=[tuple(shape)])


def feed(model, source):
    """Connect the output `source` to the only input of the converted `model`; returns the outputs of `model`."""
    (parameter,) = model.get_parameters()
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(source)
    return outputs_of(model)


def outputs_of(model):
    """What the results of a model are computed from."""
    return [result.input_value(0) for result in model.get_results()]
