"""Make any model take BGR pixels 0–255 as [1, 3, H, W]: its layout, mean and scale become part of the graph. Needs no torch."""

import re

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.shapes import is_fixed


def parse_layout(text, names):
    """Read `--layout`: `[NCHW]`, `NCHW`, `data[NHWC],info[NC]` or `data:NHWC,info:NC`.

    Args:
        text: The flag's value, or None.
        names: The model's inputs.

    Returns:
        Input name → layout.

    Raises:
        WeightsError: It is no layout, or names an input that the model does not have.
    """
    layouts = {}
    for part in (text or "").split(",") if text else ():
        match = re.fullmatch(r"([^\[\]:]*?):?\[?([A-Z]{1,5})\]?", part.strip())
        name = match and (match[1] or names[0])
        if name not in names or (match and not match[1] and len(names) > 1):
            raise WeightsError(f"--layout {text}: expected [NCHW], or NAME[NCHW] for each input, in capitals; the model's "
                               f"inputs: {', '.join(names)}")
        layouts[name] = match[2]
    return layouts


def name_ports(model):
    """Give a name to each input and output of an ov.Model that has none, in place: many converters leave them out.

    Returns:
        The model.
    """
    for kind, ports in ("input", model.inputs), ("output", model.outputs):
        for index, port in enumerate(ports):
            if not port.get_names():
                port.get_tensor().set_names({f"{kind}_{index}"})
    return model


def guess_layout(shape):
    """`NHWC` when only the last of an image's four dimensions can be the channels, else `NCHW`."""
    return "NHWC" if shape[3] == 3 and shape[1] != 3 else "NCHW"


def shape_of(port):
    """Shape of an OpenVINO input or output; -1 for lengths that are not fixed, [] when even their number is open."""
    shape = port.get_partial_shape()
    return [] if shape.rank.is_dynamic else [side.get_length() if side.is_static else -1 for side in shape]


def size_of(shape, layout=None):
    """Height and width of an image input of this shape; the layout is guessed when None."""
    return tuple(shape[1:3] if (layout or guess_layout(shape)) == "NHWC" else shape[2:])


def image_layout(shape, layout, flag):
    """The layout of an image input.

    Args:
        shape: Its four lengths.
        layout: What the user says of it; guessed when None.
        flag: What the user wrote, for the error.

    Raises:
        WeightsError: The input cannot be an image of three channels, or not one of that layout.
    """
    guess, shown = guess_layout(shape), f"[{', '.join(str(side) if is_fixed(side) else '?' for side in shape)}]"
    if layout not in (None, "NCHW", "NHWC"):
        raise WeightsError(f"--layout {flag}: expected NCHW or NHWC for the image")
    channels = shape[3] if (layout or guess) == "NHWC" else shape[1]
    if not is_fixed(channels) or channels == 3:
        return layout or guess
    if layout and guess != layout and 3 in (shape[1], shape[3]):
        raise WeightsError(f"--layout {flag}: the model's image is {shown}, which is {guess}; leave the flag out, or give "
                           f"{guess}")
    raise WeightsError(f"the model's image is {shown}, but only images of 3 channels can be given, [1, 3, H, W] or [1, H, W, 3]")


def taking_bgr_pixels(model, name, layout=None, mean=(), scale=()):
    """Put layout, mean and scale into the graph, so that input `name` takes [1, 3, H, W] pixels.

    Args:
        model: An ov.Model; changed in place.
        name: Its image input.
        layout: Of that input; guessed when None.
        mean, scale: One number per channel to subtract and to divide by; empty when the graph does it already.

    Returns:
        The model.
    """
    import openvino as ov
    layout = layout or guess_layout(shape_of(model.input(name)))
    if layout == "NCHW" and not (mean or scale):
        return model
    pipeline = ov.preprocess.PrePostProcessor(model)
    pipeline.input(name).tensor().set_layout(ov.Layout("NCHW")).set_element_type(ov.Type.f32)  # what a client sends
    pipeline.input(name).model().set_layout(ov.Layout(layout))
    steps = pipeline.input(name).preprocess()
    if mean:
        steps.mean(list(mean))
    if scale:
        steps.scale(list(scale))
    return pipeline.build()


def covering_input(model):
    """A copy of a two-input ov.Model of Segmentoly's kind whose image covers the whole input: `im_data` is its only input."""
    import numpy as np
    from openvino import opset13 as op
    model = model.clone()
    info = model.input("im_info").get_node()
    whole = op.constant(np.float32([[*shape_of(model.input("im_data"))[2:], 1]]))
    info.output(0).replace(whole.output(0))
    model.remove_parameter(info)
    return model


def taking_photos(model):
    """Put the resize into the graph, so that its one input takes photos of any size, [1, H, W, 3] uint8.

    Model API sends such photos to a server, and expects boxes in pixels of the network's own input, whose size it reads from
    `orig_height` and `orig_width`.

    Args:
        model: An ov.Model with one input [1, 3, H, W] of fixed size; changed in place.

    Returns:
        The model.
    """
    import openvino as ov
    height, width = shape_of(model.input())[2:]
    pipeline = ov.preprocess.PrePostProcessor(model)
    pipeline.input().tensor().set_layout(ov.Layout("NHWC")).set_element_type(ov.Type.u8).set_spatial_dynamic_shape()
    pipeline.input().model().set_layout(ov.Layout("NCHW"))
    pipeline.input().preprocess().convert_element_type(ov.Type.f32).resize(ov.preprocess.ResizeAlgorithm.RESIZE_LINEAR)
    model = pipeline.build()
    for key, value in dict(embedded_processing="True", orig_height=height, orig_width=width).items():
        model.set_rt_info(str(value), ["model_info", key])
    return model
