"""A model as a function: image in, Prediction in that image's pixels out, whatever runs the network. Needs no torch."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.errors import MediaError, WeightsError
from instance_segmentation.inference.contracts import Contract
from instance_segmentation.inference.masks import paste_rles
from instance_segmentation.inference.metrics import Metrics
from instance_segmentation.inference.pipeline import detect, detect_tiled
from instance_segmentation.inference.resizing import Resize
from instance_segmentation.inference.sources import Source, open_source, read_image
from instance_segmentation.prediction import Prediction
from instance_segmentation.report import progress as progress_bar


@dataclass(frozen=True)
class Detector:
    """A network that finds objects.

    Attributes:
        run: The network: an ov.CompiledModel, or a function of what `prepare` returns that gives outputs by name.
        contract: How its outputs are read.
        outputs: Our name of each output → the model's.
        classes: Class names in label order.
        resize: How images become its input.
        rgb: It takes RGB pixels.
        threshold: Lowest score that counts, a number or one per class.
        mask_threshold: Probability from which a pixel belongs to the object.
        info: What the model says about itself, an IrInfo.
        threshold_origin: Who chose `threshold`, in words.
        compile_many: Gives what runs the network on several images at a time; None when `run` does that best itself.
    """

    run: object
    contract: Contract
    outputs: dict
    classes: tuple
    resize: Resize
    rgb: bool = False
    threshold: float | tuple = 0.5
    mask_threshold: float = 0.5
    info: object = None
    threshold_origin: str = "the default"
    compile_many: object = None

    def __call__(self, image):
        """Detect in one image.

        Args:
            image: (H, W, 3) uint8 BGR, or the path of an image.

        Returns:
            A Prediction in its pixels, with the image.

        Raises:
            MediaError: It is no such array, or no readable image.
        """
        name, image_bgr = (Path(image).name, read_image(image)) if isinstance(image, (str, Path)) else ("", _checked(image))
        inputs, placement = self.prepare(image_bgr)
        try:
            outputs = self.run(inputs)
        except (RuntimeError, UnicodeDecodeError) as error:  # OpenVINO's, of shapes that do not fit
            raise WeightsError(f"the model cannot be run: {str(error).strip().splitlines()[-1]}; export it again") from error
        return replace(self.read(outputs, placement, image_bgr.shape[:2]), image_bgr=image_bgr, source=name)

    def predict(self, source, *, progress=False, number=0, tile_px=None, overlap=0.25):
        """Detect in every picture of a source, several at a time.

        Args:
            source: Image, folder, video, camera's number or URL; a list of images and folders; or a Source.
            progress: Show how far it is: a bar on a terminal, a line every 30 s otherwise.
            number: Of pictures that are inferred at the same time; as many as the device likes when 0.
            tile_px, overlap: Detect in tiles, one at a time, as of `detect_in_tiles`; in whole pictures when None.

        Yields:
            The Prediction of each picture in order, with the picture and its name.

        Raises:
            MediaError: There is no such source, or a picture cannot be read.
        """
        source = source if isinstance(source, Source) else open_source(source)
        found = (detect_tiled(source.pictures, self, Metrics(), tile_px, overlap) if tile_px
                 else detect(source.pictures, replace(self, run=self.run_many), Metrics(), number))
        with progress_bar("Predicting") if progress else nullcontext(lambda done, total: None) as show:
            for frame, prediction in found:
                yield replace(prediction, image_bgr=frame.image, source=frame.name)
                show(frame.index + 1, source.count)

    @cached_property
    def run_many(self):
        """What runs the network on several images at a time, compiled when first needed."""
        return self.compile_many() if self.compile_many else self.run

    def prepare(self, image_bgr):
        """The network's input for an image.

        Returns:
            [1, 3, h, w] uint8, or a dict of inputs by name, and the image's Placement.
        """
        net, placement = self.resize(image_bgr)
        tensor = np.ascontiguousarray((net[..., ::-1] if self.rgb else net).transpose(2, 0, 1))[None]
        return self.inputs(tensor, image_bgr.shape[:2], placement.scale_xy), placement

    def inputs(self, tensor, size_hw, scale_xy):
        """What the network takes: the tensor [1, 3, h, w], and by name what else it wants to know.

        Args:
            tensor: The resized image.
            size_hw: Height and width of the image in pixels.
            scale_xy: Network pixels per image pixel.
        """
        if self.contract.inputs is None:
            return tensor
        inner = np.multiply(size_hw, scale_xy[::-1])
        return dict(zip(self.contract.inputs, (tensor, np.float32([[*inner.round(), 1]])), strict=True))

    def read(self, outputs, placement, size_hw):
        """Read the network's outputs for an image.

        Args:
            outputs: By name.
            placement: The Placement that `prepare` returned.
            size_hw: Height and width of the image in pixels.

        Raises:
            WeightsError: The network found a class that has no name, or its outputs are no numbers or do not fit together.
        """
        outputs = {ours: outputs[theirs] for ours, theirs in self.outputs.items()}
        lowest = np.float32(self.threshold)  # not float64: 0.9 would exclude a score of 0.9
        found = self.contract.read(outputs, lowest.min(), placement.net_hw)
        if not all(np.isfinite(values).all() for values in (found.boxes, found.scores, found.masks)):
            raise WeightsError("the model gives values that are no numbers (NaN or infinite): in 16 bits its own may grow too "
                               "large, so try --precision f32 or another device, or export it again")
        if found.labels.min(initial=0) < 0 or found.labels.max(initial=-1) >= len(self.classes):
            raise WeightsError(f"the model found an object of class {found.labels.max() + 1}, but there are only "
                               f"{len(self.classes)} class names; --labels needs one line per class")
        order = np.argsort(-found.scores, kind="stable")
        order = order[found.scores[order] >= np.broadcast_to(lowest, len(self.classes))[found.labels[order]]]
        boxes = placement.to_image(found.boxes[order]).clip(0, np.float32(size_hw[::-1] * 2))
        windows = placement.to_image(found.windows[order])
        rles = paste_rles(windows, found.masks[order], size_hw, self.mask_threshold)
        if found.windows is not found.boxes:
            rles = [_cut(rle, box, size_hw) for rle, box in zip(rles, boxes, strict=True)]
        return Prediction(boxes, found.scores[order], found.labels[order], rles, self.classes, tuple(size_hw))


def _checked(image):
    """An image that was handed over; raises MediaError unless it is (H, W, 3) uint8."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise MediaError(f"the image: got {got}, expected a path or a numpy array (H, W, 3) of uint8, blue, green, red")
    return image


def _cut(rle, box, size_hw):
    """What of a mask lies in the box."""
    inside = coco_mask.frPyObjects(np.float64([[*box[:2], *(box[2:] - box[:2])]]), *size_hw)
    return coco_mask.merge([rle, *inside], intersect=True)
