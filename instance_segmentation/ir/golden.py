"""Golden samples: three images beside an exported model and what it found in them, to be found again on any machine.

The images are stored as the network takes them, so nothing but the network can make a difference. Both sides compute in float32,
whatever `instseg plan` chose for the model. A sample in which nothing is found, or whose masks have no pixel, is found again by
any model, so there are no golden samples of that kind.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.inference.exported import LoadOptions, load_exported
from instance_segmentation.ir import golden_record
from instance_segmentation.ir.golden_record import FOLDER, IMAGES, RECORD
from instance_segmentation.prediction import pair_up

FILES = tuple(f"{FOLDER}/{name}" for name in (*IMAGES, RECORD))
PAIR_PX = 8.0  # detections whose corners differ by more are different ones
SMALL, FEW = 64, 4  # of masks of fewer pixels a single one counts for too much in the IoU: this many may differ


@dataclass(frozen=True)
class Tolerance:
    """Largest differences between two machines.

    Measured between kernels for AMX, AVX-512 and AVX2 (ONEDNN_MAX_CPU_ISA): 0.0002 px, 1e-5, IoU 0.9996, none alone; the limits
    leave room for GPUs. INT8 needs no other limits where the processor has VNNI or AMX. Without them its sums overflow, and the
    self-test fails because the model really finds other things there.

    Attributes:
        box_px: Of corner coordinates, in pixels of the network's input.
        score: Of scores.
        mask_iou: Lowest IoU of two masks.
        alone: Share of detections that one side may find alone: of nearly equal boxes, rounding decides which one NMS keeps.
    """

    box_px: float = 0.05
    score: float = 1e-3
    mask_iou: float = 0.98
    alone: float = 0.02


@dataclass
class Rerun:
    """What a second run found.

    Attributes:
        detections: Paired with the expected ones, over all images.
        masks: Of these, the pairs whose masks were compared: on one side at least there is a pixel.
        box_px, score, mask_iou: Largest differences and lowest IoU of the pairs; NaN when a number is none.
        beyond: A sentence for each pair beyond the tolerance.
        alone: A sentence for each detection that only one side found.
        tolerance: A Tolerance.
    """

    detections: int = 0
    masks: int = 0
    box_px: float = 0.0
    score: float = 0.0
    mask_iou: float = 1.0
    beyond: list = field(default_factory=list)
    alone: list = field(default_factory=list)
    tolerance: Tolerance = Tolerance()

    @property
    def differences(self):
        """The sentences that make it fail; empty when the model does what it did."""
        few = len(self.alone) <= self.tolerance.alone * (self.detections + len(self.alone))
        return self.beyond + ([] if few else self.alone)

    def summary(self):
        """One line for the terminal."""
        limit = self.tolerance
        return (f"{self.detections} detections found again: boxes ≤ {self.box_px:.1g} px (allowed {limit.box_px:g}), scores ≤ "
                f"{self.score:.1g} ({limit.score:g}), {self.masks} masks compared, IoU ≥ {self.mask_iou:.4f} "
                f"({limit.mask_iou:g}); {len(self.alone)} on one side only (allowed {limit.alone:.0%})")


def write_golden(path, inputs):
    """Write `golden/` beside an exported model, unless it finds nothing in any of the samples.

    Args:
        path: The model.
        inputs: Network inputs [1, 3, H, W] in 0…255; the first three are used.

    Returns:
        How many detections were recorded; 0 when nothing was written.
    """
    detector, folder, images, found = _detector(path), Path(path).parent / FOLDER, {}, {}
    for name, array in zip(IMAGES, inputs, strict=False):
        images[name] = (array[0, ::-1] if detector.rgb else array[0]).transpose(1, 2, 0).astype(np.uint8)
        found[name] = detector(images[name])
    if not golden_record.tells_models_apart(found.values()):
        return 0
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        cv2.imwrite(str(folder / name), image)
    golden_record.write(folder / RECORD, detector.classes, detector.resize.size_hw, found)
    return sum(map(len, found.values()))


def rerun(path, device="CPU"):
    """Look for the golden samples' objects again.

    Args:
        path: An exported model with `golden/` beside it.
        device: OpenVINO device; an .onnx always runs on the CPU.

    Returns:
        A Rerun.

    Raises:
        WeightsError: There are no golden samples, they are damaged, nothing was found in them, or they belong to a model of
            other classes or another input size.
    """
    folder, detector = Path(path).parent / FOLDER, _detector(path, device)
    result = Rerun()
    for name, expected in golden_record.read(folder / RECORD, detector.classes, detector.resize.size_hw).items():
        _compare(result, name, expected, detector(golden_record.read_sample(folder / name, expected.size_hw)))
    return result


def _detector(path, device="CPU"):
    return load_exported(path, LoadOptions(threshold=0.0, device=device, properties={"INFERENCE_PRECISION_HINT": "f32"}))


def _compare(result, image, expected, found):
    """Note into a Rerun how two Predictions of an image differ."""
    pairs, alone = pair_up(expected, found, PAIR_PX)
    result.detections += len(pairs)
    for first, second in pairs:
        box = float(np.abs(expected.boxes[first] - found.boxes[second]).max())
        score = float(np.abs(expected.scores[first] - found.scores[second]))
        iou = mask_iou(expected.rles[first], found.rles[second])
        result.masks += iou is not None
        iou = 1.0 if iou is None else iou
        # numpy's extremes keep NaN, and no comparison with it holds; Python's drop it
        result.box_px, result.score = float(np.maximum(result.box_px, box)), float(np.maximum(result.score, score))
        result.mask_iou, limit = float(np.minimum(result.mask_iou, iou)), result.tolerance
        if not (box <= limit.box_px and score <= limit.score and iou >= limit.mask_iou):
            result.beyond.append(f"{image}: {_name(expected, first)} is off by {box:.3g} px, its score by {score:.2g}, its mask "
                                 f"has IoU {iou:.4f}")
    result.alone += [f"{image}: {_name(side, index)} is only {word}" for number, index in alone
                     for side, word in [((expected, "expected"), (found, "found here"))[number]]]


def mask_iou(one, other):
    """IoU of two RLEs; None when both are empty, 1 when they are small and differ by FEW pixels at most."""
    areas = coco_mask.area([one, other])
    if not areas.any():
        return None
    if areas.max() < SMALL:
        common = coco_mask.area(coco_mask.merge([one, other], intersect=True))
        if areas.sum() - 2 * common <= FEW:
            return 1.0
    return float(coco_mask.iou([one], [other], [0])[0, 0])


def _name(found, index):
    return f"{found.names()[index]} {found.scores[index]:.3f} at ({', '.join(f'{side:.1f}' for side in found.boxes[index])})"
