"""The kinds of models that can be run: recognised by names and ranks of their inputs and outputs. Needs no torch.

Each kind's outputs are read into the same `Found`, in pixels of the network's input and with labels from 0.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.shapes import is_fixed
from instance_segmentation.inference.strangers import stranger_of

YOLACT_NMS_IOU, YOLACT_MOST = 0.5, 100  # no entry of a model says them
EXPLANATIONS = ("saliency_map", "feature_vector")  # outputs that OTX can add to any model


@dataclass(frozen=True)
class Found:
    """Detections in pixels of the network's input, best score first or in the network's order.

    Attributes:
        boxes: (N, 4) float32 x1 y1 x2 y2.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64 from 0, background not counted.
        masks: (N, h, w) float32 probabilities.
        windows: (N, 4) what the masks cover; the boxes, unless masks are of the whole input.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    windows: np.ndarray


@dataclass(frozen=True)
class Contract:
    """One kind of model.

    Attributes:
        title: For messages.
        inputs: Names of its inputs; None for one input of any name.
        outputs: Output → rank. When `by_rank`, the model may name them as it likes.
        read: Turns (outputs, lowest score, (height, width) of the input) into Found.
        model_type: Model API's name of the kind.
        gives: The outputs of a model of this tool, for people.
        classes_of: Output and axis whose length is the number of classes, background counted.
    """

    title: str
    inputs: tuple | None
    outputs: dict
    read: callable
    by_rank: bool = False
    model_type: str = "MaskRCNN"
    gives: str = "boxes [N, 5] (x1 y1 x2 y2 in input pixels, score), labels [N] from 0, masks [N, m, m] inside the box"
    classes_of: tuple | None = None

    def lacks(self, inputs, outputs):
        """What a model with these inputs and outputs (name → shape) lacks, in words; empty when it fits."""
        ranks = {name: len(shape) for name, shape in outputs.items() if name not in EXPLANATIONS}
        if self.inputs is None:
            missing = [] if len(inputs) == 1 else ["a single input"]
            images = dict(list(inputs.items())[:1])
        else:
            missing = [f"input '{name}'" for name in self.inputs if name not in inputs]
            missing += [f"something to feed '{name}' with" for name in inputs if name not in self.inputs]
            images = {name: inputs[name] for name in self.inputs[:1] if name in inputs}
        missing += [f"images as input '{name}', [1, 3, H, W]" for name, shape in images.items() if len(shape) != 4]
        if self.by_rank:
            expected = sorted(self.outputs.values())
            return missing + [f"outputs of ranks {expected}, one of each"] * (sorted(ranks.values()) != expected)
        return missing + [f"output '{name}' of rank {rank}" for name, rank in self.outputs.items() if ranks.get(name) != rank]

    def names(self, outputs):
        """Our name of each output → the model's."""
        by_rank = {len(shape): name for name, shape in outputs.items() if name not in EXPLANATIONS}
        return {name: by_rank[rank] if self.by_rank else name for name, rank in self.outputs.items()}

    def image_input(self, inputs):
        """Name of the input that takes the image."""
        return self.inputs[0] if self.inputs else next(iter(inputs))

    def class_count(self, outputs):
        """Number of classes without background, as the outputs' shapes tell; None when they do not."""
        length = self.classes_of and outputs[self.classes_of[0]][self.classes_of[1]]
        return length - 1 if is_fixed(length) else None


def _fit_together(out, **shapes):
    """Refuse outputs whose lengths do not fit together.

    Args:
        out: Our name → array.
        shapes: A letter per dimension; lengths of one letter are equal. A digit is the least length.

    Raises:
        WeightsError: They do not; reading them would take one object's mask for another's.
    """
    lengths = {}
    for name, letters in shapes.items():
        sides = out[name].shape
        fits = len(sides) == len(letters) and all(
            side >= int(letter) if letter.isdigit() else lengths.setdefault(letter, side) == side
            for side, letter in zip(sides, letters, strict=True))
        if not fits or (0 in sides and 0 not in (lengths.get("n"), lengths.get("p"))):
            found = ", ".join(f"{name} {list(out[name].shape)}" for name in shapes)
            raise WeightsError(f"the model's outputs do not fit together: {found}; export it again")


def _mask_rcnn(out, threshold, size_hw):
    """This tool's, OTE's and OTX's Mask R-CNN; the latter have a batch dimension."""
    batched = out["labels"].ndim > 1
    _fit_together(out, **(dict(boxes="1n5", labels="1n", masks="1nhw") if batched else dict(boxes="n5", labels="n", masks="nhw")))
    boxes, labels, masks = (out[name][0] if batched else out[name] for name in ("boxes", "labels", "masks"))
    keep = np.flatnonzero((boxes[:, 4] >= threshold) & (labels >= 0))  # a label of -1 fills up a fixed number of rows
    corners = boxes[keep, :4]
    return Found(corners, boxes[keep, 4], labels[keep].astype(np.int64), masks[keep], corners)


def _segmentoly(out, threshold, size_hw):
    """Segmentoly's Mask R-CNN: class 0 is background, one mask per class."""
    _fit_together(out, boxes="n4", scores="n", classes="n", raw_masks="nchw")
    keep = np.flatnonzero((out["scores"] >= threshold) & (out["classes"] >= 1))
    boxes, classes = out["boxes"][keep], out["classes"][keep].astype(np.int64)
    if len(classes) and not 0 < classes.min() <= classes.max() < out["raw_masks"].shape[1]:
        raise WeightsError(f"the model found an object of class {classes.max()}, but gives masks of {out['raw_masks'].shape[1]} "
                           "classes, the background's included; export it again")
    return Found(boxes, out["scores"][keep], classes - 1, out["raw_masks"][keep, classes], boxes)


def _yolact(out, threshold, size_hw):
    """YOLACT: boxes in shares of the input, masks as sums of prototypes (arXiv:1904.02689, section 3).

    Per-class NMS as the Open Model Zoo demo does it.
    """
    _fit_together(out, boxes="1p4", conf="1pc", mask="1pk", proto="1hwk")
    boxes, scores, coefficients, prototypes = (out[name][0] for name in ("boxes", "conf", "mask", "proto"))
    at, labels = np.nonzero(scores[:, 1:] >= threshold)
    boxes = boxes[at] * np.float32(size_hw[::-1] * 2)
    sure = scores[at, labels + 1]
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), sure.tolist(), labels.tolist(), threshold, YOLACT_NMS_IOU) if len(at) else []
    kept = np.asarray(kept, np.int64)[:YOLACT_MOST]
    masks = np.einsum("hwk,nk->nhw", prototypes, coefficients[at[kept]])
    whole = np.tile(np.float32([0, 0, *size_hw[::-1]]), (len(kept), 1))
    return Found(boxes[kept], sure[kept], labels[kept].astype(np.int64), 1 / (1 + np.exp(-masks)), whole)


MASK_RCNN = Contract("Mask R-CNN of this tool, OTE or OTX, or RTMDet-Ins (told by ranks: labels, boxes, masks)", None,
                     dict(boxes=2, labels=1, masks=3), _mask_rcnn, by_rank=True)
BATCHED = Contract("Mask R-CNN of OTX or getitune, or RTMDet-Ins, with a batch dimension", None,
                   dict(boxes=3, labels=2, masks=4), _mask_rcnn, by_rank=True)
SEGMENTOLY = Contract("Mask R-CNN of Segmentoly or the Open Model Zoo", ("im_data", "im_info"),
                      dict(boxes=2, scores=1, classes=1, raw_masks=4), _segmentoly, classes_of=("raw_masks", 1),
                      gives="boxes [N, 4] x1 y1 x2 y2 in input pixels, scores [N], classes [N] from 1, raw_masks [N, classes + "
                      "1, m, m] inside the box, the background's first")
YOLACT = Contract("YOLACT", None, dict(boxes=3, conf=3, mask=3, proto=4), _yolact, model_type="YOLACT",
                  classes_of=("conf", 2), gives="of P anchors boxes [1, P, 4] (x1 y1 x2 y2 as shares of the input), conf [1, P, "
                  "classes + 1] with the background first, mask [1, P, k]; proto [1, h, w, k]. NMS and masks are the reader's")
CONTRACTS = (MASK_RCNN, BATCHED, SEGMENTOLY, YOLACT)


def contract_of(inputs, outputs, path, entries=None):
    """Recognise a model.

    Args:
        inputs, outputs: Name → shape.
        path: For the error.
        entries: Its `model_info` entries, key → text; None when they are not known.

    Raises:
        WeightsError: It takes several images at a time, or is none of CONTRACTS; then the message says what it is, or what it
            has and what it lacks for each of them.
    """
    if stranger := stranger_of(outputs, entries):
        raise WeightsError(f"{path}: is {stranger}")
    for contract in CONTRACTS:
        if not contract.lacks(inputs, outputs):
            batch = inputs[contract.image_input(inputs)][0]
            if is_fixed(batch) and batch != 1:
                raise WeightsError(f"{path}: takes {batch} images at a time, expected 1; convert it again with a batch size of 1")
            return contract
    has = f"inputs {', '.join(inputs)}; outputs {', '.join(f'{name} (rank {len(shape)})' for name, shape in outputs.items())}"
    wanting = "\n".join(f"  {item.title}: lacks {', '.join(item.lacks(inputs, outputs))}" for item in CONTRACTS)
    raise WeightsError(f"{path}: no instance segmentation model that can be run here. It has {has}.\n{wanting}")
