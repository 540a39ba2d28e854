"""From PyTorch modules to OpenVINO graphs, and graphs joined to a model: what every family of networks needs."""

import warnings
from itertools import chain, count

import openvino as ov
import torch
from openvino import opset13 as op
from torch import nn
from torch.nn import functional

from instance_segmentation.ir.operators import OPENVINO


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
        return ov.convert_model(traced, example_input=examples, input=shapes, extension=OPENVINO)


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
    return join(dict(image=image), name, outputs)


def join(inputs, name, outputs):
    """The ov.Model `name`; inputs (name → parameter, the image first) and outputs (name → node) get their names."""
    image, results = next(iter(inputs.values())), [op.result(node) for node in outputs.values()]
    image.set_layout(ov.Layout("NCHW"))
    for port, node in [*inputs.items(), *zip(outputs, results, strict=True)]:
        node.set_friendly_name(port)
        node.output(0).set_names({port})
    model = ov.Model(results, list(inputs.values()), name)
    _name_apart(model)
    return model


def _name_apart(model):
    """Give no two nodes the same name, as those of a cascade's heads have it: NNCF tells nodes apart by their names."""
    taken = set()
    for node in model.get_ordered_ops():
        own = node.get_friendly_name()
        name = next(name for name in chain([own], (f"{own}_{number}" for number in count(2))) if name not in taken)
        if name != own:
            node.set_friendly_name(name)
        taken.add(name)
