"""How an image gets into a network's input, and how boxes come back. Needs no torch."""

from dataclasses import dataclass

import cv2
import numpy as np

from instance_segmentation.errors import MediaError

# The names are Model API's `resize_type`: which scale is chosen of (vertical, horizontal), and where the image then lies,
# 0 at the top left, 0.5 in the middle. `fit_max` is Segmentoly's: its limits choose the scale.
MODES = {
    "standard": (lambda scales: scales, 0.0),
    "fit_to_window": (min, 0.0),
    "fit_to_window_letterbox": (min, 0.5),
    "crop": (max, 0.5),
    "fit_max": (None, 0.0),
}


@dataclass(frozen=True)
class Resize:
    """What is done to every image.

    Attributes:
        mode: A key of MODES.
        size_hw: Height and width of the network's input in pixels; None, with `fit_max`, for a network that takes any size.
        limits: In pixels, what the image shall not exceed: with `fit_max` (shorter side, longer side), with `fit_to_window`
            (height, width), there None for the whole input.
        pad_value: Of the pixels beside the image, one number or (b, g, r).
    """

    mode: str = "standard"
    size_hw: tuple | None = None
    limits: tuple | None = None
    pad_value: int | tuple = 0

    def __call__(self, image):
        """Resize an image.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            The network's input (h, w, 3) uint8 and a Placement.

        Raises:
            MediaError: After `fit_max` the image is larger than the network's input.
        """
        placement, inner, net = self.place(image.shape[:2])
        left, top = placement.offset_xy
        resized = cv2.resize(image, inner[::-1])
        return (resized if inner == tuple(net) else self._on_canvas(resized, net, left, top)), placement

    def place(self, image_hw):
        """Where an image of this height and width comes to lie.

        Returns:
            Its Placement, and height and width of the resized image and of the network's input.

        Raises:
            MediaError: As when called.
        """
        inner = self._inner(image_hw)
        net = self.size_hw or up_to_32(inner)
        if self.mode == "fit_max" and (inner[0] > net[0] or inner[1] > net[1]):
            raise MediaError(f"--fit_max {self.limits[0]} {self.limits[1]}: makes {inner[0]}×{inner[1]} of an image of "
                             f"{image_hw[0]}×{image_hw[1]}, more than the network's fixed input of {net[0]}×{net[1]} "
                             "(height × width); give smaller limits, or export it for another size (export.py --input-size)")
        top, left = (round((n - i) * MODES[self.mode][1]) for n, i in zip(net, inner, strict=True))
        return Placement((inner[1] / image_hw[1], inner[0] / image_hw[0]), (left, top), tuple(net)), inner, net

    def _inner(self, image_hw):
        """Height and width of the resized image in pixels."""
        if self.mode == "fit_max":
            scales = min(self.limits[0] / min(image_hw), self.limits[1] / max(image_hw))
        else:
            window = self.limits if self.mode == "fit_to_window" and self.limits else self.size_hw
            scales = MODES[self.mode][0](np.divide(window, image_hw))
        return tuple(max(1, round(side)) for side in (np.asarray(image_hw) * scales).tolist())

    def _on_canvas(self, resized, net, left, top):
        """The image at (left, top) of the input; negative offsets cut it."""
        canvas = np.full((*net, 3), self.pad_value, np.uint8)
        cut = resized[max(0, -top):, max(0, -left):][:net[0], :net[1]]
        top, left = max(0, top), max(0, left)
        canvas[top:top + cut.shape[0], left:left + cut.shape[1]] = cut
        return canvas


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the network's input: input = image · scale + offset.

    Attributes:
        scale_xy: Network pixels per image pixel.
        offset_xy: Of the image's top left corner, in network pixels; negative where the image was cut.
        net_hw: Height and width of the network's input.
    """

    scale_xy: tuple
    offset_xy: tuple
    net_hw: tuple

    def to_image(self, boxes_net):
        """Boxes (N, 4) x1 y1 x2 y2 in pixels of the network's input → the same, float32, in pixels of the image."""
        return ((boxes_net - np.float32(self.offset_xy * 2)) / np.float32(self.scale_xy * 2)).astype(np.float32)


def up_to_32(size_hw):
    """Height and width, each rounded up to a multiple of 32: networks halve their input five times."""
    return tuple(-(-side // 32) * 32 for side in size_hw)
