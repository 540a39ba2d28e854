"""The images of the parity gate, and how either side takes them."""

import cv2
import torch
from mmdet.structures import DetDataSample

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.resizing import Placement


def images(resize, files):
    """Yield what the gate looks at: the files, three images of seeded noise when there are none, and a black one.

    Args:
        resize: The network's `resizing.Resize`.
        files: Image files.

    Yields:
        Name, the network's input [3, H, W] uint8 BGR tensor, height and width of the image, its Placement in the input.

    Raises:
        MediaError: A file is no readable image.
    """
    for file in files:
        image = cv2.imread(str(file))
        if image is None:
            raise MediaError(f"{file}: cannot be read as an image; the parity gate needs it")
        net, placement = resize(image)
        yield str(file), torch.from_numpy(net).permute(2, 0, 1), image.shape[:2], placement
    whole = Placement((1.0, 1.0), (0, 0), resize.size_hw)
    for seed in range(0 if len(files) else 3):
        yield f"noise {seed}", _noise(resize.size_hw, seed), resize.size_hw, whole
    yield "black", torch.zeros((3, *resize.size_hw), dtype=torch.uint8), resize.size_hw, whole


def _noise(size_hw, seed):
    """Seeded noise with coarse and fine structure; plain white noise excites few detections."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.nn.functional.interpolate(torch.randn(1, 3, 2 ** level, 2 ** level, generator=generator) / level,
                                              size=size_hw, mode="bilinear") for level in range(1, 7)]
    return (sum(layers)[0] * 60 + 120).clamp(0, 255).to(torch.uint8)


def as_sent(image, channel_order):
    """The image as a client sends it: [1, 3, H, W] float32."""
    return (image if channel_order == "BGR" else image.flip(0))[None].float().numpy()


def prepared(model, image):
    """The image as the network takes it, and its DetDataSample in pixels of the input."""
    meta = dict(img_shape=tuple(image.shape[1:]), ori_shape=tuple(image.shape[1:]), scale_factor=(1.0, 1.0))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)]))
    return data["inputs"], data["data_samples"]
