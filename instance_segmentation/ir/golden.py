"""Golden samples: three images beside an exported model and what it found in them, to be found again on any machine.

The images are stored as the network takes them, so nothing but the network can make a difference. Both sides compute in float32,
whatever `instseg plan` chose for the model.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.exported import LoadOptions, load_exported
from instance_segmentation.prediction import Prediction, pair_up
from instance_segmentation.report import write_text

FOLDER, RECORD = "golden", "detections.json"
IMAGES = ("1.png", "2.png", "3.png")
FILES = tuple(f"{FOLDER}/{name}" for name in (*IMAGES, RECORD))
PAIR_PX = 8.0  # detections whose corners differ by more are different ones
SMALL = 64  # masks of fewer pixels are not compared: a single pixel counts for too much


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
        box_px, score, mask_iou: Largest differences and lowest IoU of the pairs.
        beyond: A sentence for each pair beyond the tolerance.
        alone: A sentence for each detection that only one side found.
        tolerance: A Tolerance.
    """

    detections: int = 0
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
                f"{self.score:.1g} ({limit.score:g}), masks IoU ≥ {self.mask_iou:.4f} ({limit.mask_iou:g}); {len(self.alone)} "
                f"on one side only (allowed {limit.alone:.0%})")


def write_golden(path, inputs):
    """Write `golden/` beside an exported model.

    Args:
        path: The model.
        inputs: Network inputs [1, 3, H, W] in 0…255; the first three are used.
    """
    detector, folder, images = _detector(path), Path(path).parent / FOLDER, {}
    folder.mkdir(exist_ok=True)
    for name, array in zip(IMAGES, inputs, strict=False):
        image = (array[0, ::-1] if detector.rgb else array[0]).transpose(1, 2, 0).astype(np.uint8)
        cv2.imwrite(str(folder / name), image)
        images[name] = _record(detector(image))
    content = dict(classes=detector.classes, input_size=detector.resize.size_hw, images=images)
    write_text(folder / RECORD, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def rerun(path, device="CPU"):
    """Look for the golden samples' objects again.

    Args:
        path: An exported model with `golden/` beside it.
        device: OpenVINO device; an .onnx always runs on the CPU.

    Returns:
        A Rerun.

    Raises:
        WeightsError: There are no golden samples, they are damaged, or they belong to a model of other classes or another
            input size.
    """
    folder = Path(path).parent / FOLDER
    detector, content = _detector(path, device), _read(folder / RECORD)
    for key, own in ("classes", detector.classes), ("input_size", detector.resize.size_hw):
        if tuple(content[key]) != tuple(own):
            raise WeightsError(f"{folder}: was made by a model whose {key.replace('_', ' ')} is {content[key]}, not {list(own)}; "
                               "export the model again")
    result = Rerun()
    for name, found in content["images"].items():
        image = cv2.imread(str(folder / name))
        if image is None:
            raise WeightsError(f"{folder / name}: cannot be read as an image; export the model again")
        _compare(result, name, _expected(found, detector), detector(image))
    return result


def _detector(path, device="CPU"):
    return load_exported(path, LoadOptions(threshold=0.0, device=device, properties={"INFERENCE_PRECISION_HINT": "f32"}))


def _record(found):
    """A Prediction as JSON; rounded far below any tolerance."""
    return [dict(label=label, score=round(score, 6), box=[round(side, 4) for side in box], mask=rle["counts"].decode())
            for label, score, box, rle in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), found.rles,
                                              strict=True)]


def _expected(items, detector):
    """The Prediction that `_record` recorded."""
    size, labels = detector.resize.size_hw, np.array([item["label"] for item in items], np.int64)
    boxes, scores = (np.array([item[key] for item in items], np.float32) for key in ("box", "score"))
    rles = [dict(size=list(size), counts=item["mask"].encode()) for item in items]
    return Prediction(boxes.reshape(-1, 4), scores, labels, rles, detector.classes, size)


def _read(file):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}); export the model again, or copy the folder "
                           f"{FOLDER} along with the model") from error
    except ValueError as error:
        raise WeightsError(f"{file}: damaged ({error}); export the model again") from error


def _compare(result, image, expected, found):
    """Note into a Rerun how two Predictions of an image differ."""
    pairs, alone = pair_up(expected, found, PAIR_PX)
    result.detections += len(pairs)
    for first, second in pairs:
        box = float(np.abs(expected.boxes[first] - found.boxes[second]).max())
        score = float(np.abs(expected.scores[first] - found.scores[second]))
        iou = _mask_iou(expected.rles[first], found.rles[second])
        result.box_px, result.score = max(result.box_px, box), max(result.score, score)
        result.mask_iou, limit = min(result.mask_iou, iou), result.tolerance
        if box > limit.box_px or score > limit.score or iou < limit.mask_iou:
            result.beyond.append(f"{image}: {_name(expected, first)} is off by {box:.3g} px, its score by {score:.2g}, its mask "
                                 f"has IoU {iou:.4f}")
    result.alone += [f"{image}: {_name(side, index)} is only {word}" for number, index in alone
                     for side, word in [((expected, "expected"), (found, "found here"))[number]]]


def _mask_iou(one, other):
    if min(coco_mask.area([one, other])) < SMALL:
        return 1.0
    return float(coco_mask.iou([one], [other], [0])[0, 0])


def _name(found, index):
    return f"{found.names()[index]} {found.scores[index]:.3f} at ({', '.join(f'{side:.1f}' for side in found.boxes[index])})"
