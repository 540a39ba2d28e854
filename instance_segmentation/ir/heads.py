"""The three parts of an mmdet Mask R-CNN that are pure tensor code; `ov.convert_model` turns each into a graph.

What lies between them (proposals, RoI features, decoding, NMS) is written in OpenVINO operations in `mask_rcnn.py`.
"""

import warnings

import openvino as ov
import torch
from openvino import opset13 as op
from torch import nn
from torch.nn import functional

from instance_segmentation.ir.neck import lean_neck


class Pixels(nn.Module):
    """mmdet's DetDataPreprocessor as a layer.

    Args:
        model: mmdet detector with `input_size`.
        reverse: Whether the image's channels are in the other order than the pipeline's BGR.
    """

    def __init__(self, model, reverse):
        super().__init__()
        self.preprocessor = model.data_preprocessor
        self.reverse = reverse != self.preprocessor._channel_conversion
        height, width = model.input_size
        divisor = self.preprocessor.pad_size_divisor
        self.padding = (0, -width % divisor, 0, -height % divisor)  # left, right, top, bottom

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → what the backbone takes."""
        if self.reverse:
            image = image[:, [2, 1, 0]]
        if self.preprocessor._enable_normalize:
            image = (image - self.preprocessor.mean) / self.preprocessor.std
        if any(self.padding):
            image = functional.pad(image, self.padding, value=float(self.preprocessor.pad_value))
        return image


class Trunk(nn.Module):
    """Backbone, neck and RPN convolutions, with the data preprocessor in front.

    Args:
        model: mmdet detector in eval mode.
        reverse: Whether the image's channels are in the other order than the pipeline's BGR.
        lean: Whether the neck may be rewritten for OpenVINO's kernels.
    """

    def __init__(self, model, reverse, lean=True):
        super().__init__()
        self.model, self.neck = model, model.neck if model.with_neck else nn.Identity()
        if lean:
            self.neck = lean_neck(self.neck)
        self.pixels = Pixels(model, reverse)

    def forward(self, image):
        """Image [1, 3, H, W] in 0…255 → feature maps, then objectness [1, A, h, w] and deltas [1, 4A, h, w] per level."""
        features, logits, deltas = self.maps(image)
        return (*features, *(level.sigmoid() for level in logits), *deltas)

    def maps(self, image):
        """Feature maps, RPN logits and deltas, a list of each."""
        features = self.neck(self.model.backbone(self.pixels(image)))
        return features, *self.model.rpn_head(features)


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
    """RoI features [N, C, s, s] and labels [N] → probabilities [N, m, m] of each detection's own class.

    mmdet computes the masks of every class and then picks one. Here the last layer's weights are picked first, and a
    deconvolution whose blocks do not overlap becomes one matrix product per pixel, rearranged only when a single
    channel is left. Same sums, far fewer bytes moved.
    """

    def __init__(self, model):
        super().__init__()
        self.head = model.roi_head.mask_head
        self.own = nn.Embedding.from_pretrained(self.head.conv_logits.weight.flatten(1))  # [classes or 1, C]
        self.bias = nn.Embedding.from_pretrained(self.head.conv_logits.bias[:, None])

    def forward(self, features, labels):
        """Return the probabilities."""
        hidden, factor = self._hidden(features)  # [N, h, w, factor², C]
        height, width, channels = int(hidden.shape[1]), int(hidden.shape[2]), int(hidden.shape[-1])  # N alone varies
        labels = labels * 0 if self.head.class_agnostic else labels
        pixels = hidden.reshape(-1, height * width * factor ** 2, channels)
        logits = pixels @ self.own(labels)[:, :, None] + self.bias(labels)[:, None]
        blocks = logits.reshape(-1, height, width, factor, factor).transpose(2, 3)
        return blocks.reshape(-1, height * factor, width * factor).sigmoid()

    def _hidden(self, features):
        """What the last layer sees, as blocks of factor × factor pixels, channels last."""
        head = self.head
        for conv in head.convs:
            features = conv(features)
        if head.upsample_method != "deconv":
            features = head.upsample(features) if head.upsample else features
            return features.permute(0, 2, 3, 1)[:, :, :, None], 1
        deconv, factor = head.upsample, head.scale_factor  # kernel and stride are the factor, by mmdet's construction
        weight = deconv.weight.permute(0, 2, 3, 1).flatten(1)  # [C in, factor · factor · C out]
        blocks = features.permute(0, 2, 3, 1) @ weight + deconv.bias.repeat(factor * factor)
        return blocks.unflatten(-1, (factor * factor, deconv.out_channels)).relu(), factor


def convert(module, *examples):
    """Convert a module to an ov.Model whose inputs take any number of rows where the example has several.

    Args:
        module: An nn.Module in eval mode.
        examples: One tensor per input. A first dimension of 1 stays fixed; any other becomes dynamic.
    """
    shapes = [(-1 if len(example) > 1 else 1, *example.shape[1:]) for example in examples]
    with warnings.catch_warnings(), torch.no_grad():
        # tracing fixes shapes and branches; that is wanted here, the input size never changes
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        # the tracer looks at every property of every module, mmdet's deprecated ones included
        warnings.filterwarnings("ignore", "DeprecationWarning", UserWarning)
        traced = torch.jit.trace(module.eval(), examples, check_trace=False)  # the check runs the network twice more
        return ov.convert_model(traced, example_input=examples, input=shapes)


def feed(model, *sources):
    """Connect `sources`, one per input of the converted `model`; returns the outputs of `model`."""
    for parameter, source in zip(model.get_parameters(), sources, strict=True):
        for target in parameter.output(0).get_target_inputs():
            target.replace_source_output(source)
    return outputs_of(model)


def outputs_of(model):
    """What the results of a model are computed from."""
    return [result.input_value(0) for result in model.get_results()]


def finish(trunk, name, **outputs):
    """The ov.Model `name` with the image input of the converted `trunk` and these outputs, all of them named."""
    (image,) = trunk.get_parameters()
    image.set_friendly_name("image")
    image.output(0).set_names({"image"})
    image.set_layout(ov.Layout("NCHW"))
    results = []
    for output, node in outputs.items():
        result = op.result(node)
        result.set_friendly_name(output)
        result.output(0).set_names({output})
        results.append(result)
    return ov.Model(results, [image], name)
