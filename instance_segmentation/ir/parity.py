"""The parity gate: the checkpoint and its exported graph must find the same objects in the same images.

Both get the same resized image. Detections are paired within a label, nearest boxes first, and every pair is compared.
A detection without a partner means an error, or a tie that rounding decided: of boxes that are nearly alike, as with a
little-trained network, TopK and NMS keep one or the other. The family's module (`sides_of`) tells the two apart; ties are counted
and reported.
A score that differs by more than 1e-4 means an error too, or a region that earlier rounding moved: networks whose maps reach
hundreds amplify it. The parts tell these apart as well, each given the graph's own input; such scores are counted and reported.
Where the IoU of two masks is below 0.999, pixels whose probability lies within 1e-3 of the threshold are left out; such
masks are counted too.
On a plain black image every anchor ties with its neighbours, so there only the run and the shapes are checked.
"""

from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask

from instance_segmentation.errors import ExportError
from instance_segmentation.inference.masks import paste_rles
from instance_segmentation.ir import parity_mask_rcnn, parity_rtmdet_ins, parity_yolact, rtmdet_ins, yolact
from instance_segmentation.ir.graph import family_of, resize_of, thresholds_of
from instance_segmentation.ir.parity_images import images
from instance_segmentation.prediction import pair_up

PIXEL_EDGE = 1e-3
AMPLIFIED = 10  # times the tolerance that a score may differ when every part of the network agrees


@dataclass(frozen=True)
class Tolerance:
    """Largest differences the gate accepts.

    Attributes:
        box_px: Corner coordinates, in pixels of the network's input.
        score: Scores.
        mask_iou: Lowest IoU of two pasted masks (pixels of the image).
        maps: Values of the RPN's maps (logits and deltas), of which the largest is 100 or less; in proportion above.
        unexplained: Share of detections that may lack a partner without an excuse.
        pair_px: Detections whose corners differ by more are not taken for the same one.
    """

    box_px: float = 0.01
    score: float = 1e-4
    mask_iou: float = 0.999
    maps: float = 1e-3
    unexplained: float = 0.0
    pair_px: float = 0.5


FP16_TOLERANCE = Tolerance(box_px=2.0, score=0.05, mask_iou=0.9, maps=0.2, unexplained=0.1, pair_px=4.0)


@dataclass
class Parity:
    """Largest differences over all images.

    Attributes:
        real_images: Number of the user's images; 0 means that only noise was seen.
        images: Number of all images, the black one included.
        detections: Paired detections.
        box_px, score, mask_probability: Largest differences.
        mask_iou: Lowest IoU.
        amplified, amplified_score: Scores that differ by more than the tolerance although every part agrees, and the largest
            of these differences.
        undecided: Masks of which pixels at the threshold were left out.
        excused: Detections without a partner because of ties.
        unexplained: A sentence for each other detection without a partner.
    """

    real_images: int
    images: int = 0
    detections: int = 0
    box_px: float = 0.0
    score: float = 0.0
    mask_probability: float = 0.0
    mask_iou: float = 1.0
    amplified: int = 0
    amplified_score: float = 0.0
    undecided: int = 0
    excused: int = 0
    unexplained: list = field(default_factory=list)

    def summary(self):
        """One line for the terminal."""
        text = (f"parity on {self.images} images, {self.detections} detections: boxes ≤ {self.box_px:.1g} px, "
                f"scores ≤ {self.score:.1g}, masks IoU ≥ {self.mask_iou:.4f} (probabilities ≤ {self.mask_probability:.1g})")
        if self.excused:
            text += f"; {self.excused} on one side only, decided by rounding"
        if self.amplified:
            text += f"; {self.amplified} scores moved by earlier rounding, ≤ {self.amplified_score:.2g}"
        if self.undecided:
            text += f"; {self.undecided} masks compared without pixels at the threshold"
        if self.unexplained:
            text += f"; {len(self.unexplained)} on one side only"
        return text

    def check(self, tolerance=Tolerance()):
        """Raise ExportError when a difference is above the tolerance."""
        problems = []
        if not self.box_px <= tolerance.box_px:
            problems.append(f"boxes differ by {self.box_px:.4g} px, allowed {tolerance.box_px:g}")
        if not self.score <= tolerance.score:
            problems.append(f"scores differ by {self.score:.4g}, allowed {tolerance.score:g}")
        if not self.amplified_score <= AMPLIFIED * tolerance.score:
            problems.append(f"scores moved by rounding differ by {self.amplified_score:.4g}, "
                            f"allowed {AMPLIFIED * tolerance.score:g}")
        if not self.mask_iou >= tolerance.mask_iou:
            problems.append(f"a mask's IoU is {self.mask_iou:.5f}, required {tolerance.mask_iou:g}")
        if len(self.unexplained) > tolerance.unexplained * (self.detections + len(self.unexplained)):
            problems.append(f"{len(self.unexplained)} detections are on one side only, first: {self.unexplained[0]}")
        if problems:
            raise ExportError(f"the exported model does not compute what the checkpoint computes ({self.images} images):\n  "
                              + "\n  ".join(problems) +
                              "\nNothing was written. Please report this with the checkpoint's model.py.")


def compare(model, exported, image_files=(), channel_order="BGR", tolerance=Tolerance(), two_inputs=False):
    """Run the checkpoint's network and the graph on the same images.

    Args:
        model: The mmdet detector with `input_size`.
        exported: What was built from it, as read from its file: an ov.Model, or the path of an .onnx.
        image_files: The user's images; without any, three images of seeded noise stand in. A black image always follows.
        channel_order: What the graph expects, `BGR` or `RGB`.
        tolerance: Says how far apart two detections may be to count as the same one, and when parts agree.
        two_inputs: Whether the graph is Segmentoly's; images then cover its whole input.

    Returns:
        A Parity.
    """
    sides, read, read_exported = sides_of(model), family_of(model).CONTRACT.read, family_of(model, two_inputs).CONTRACT.read
    graph, thresholds = sides.graph(exported, channel_order, model), thresholds_of(model)
    result = Parity(real_images=len(image_files))
    for name, image, size_hw, placement in images(resize_of(model), image_files):
        answer = graph(image)
        found = read_exported(answer, thresholds.score, model.input_size)
        expected = read(run_checkpoint(model, image), thresholds.score, model.input_size)
        result.images += 1
        if name == "black":
            continue
        pairs, lonely = pair_up(expected, found, tolerance.pair_px)
        _note_differences(result, expected, found, pairs, (size_hw, placement), thresholds.mask)
        gaps = [_score_gap(expected, found, pair) for pair in pairs]
        apart = [gap for gap in gaps if gap > tolerance.score]
        if (lonely or apart) and sides.same_in_parts(model, image, found, answer, tolerance):
            result.excused, result.amplified = result.excused + len(lonely), result.amplified + len(apart)
            result.amplified_score = max([result.amplified_score, *apart])
            gaps = [gap for gap in gaps if gap <= tolerance.score]
        else:
            result.unexplained += [f"{name}: {_describe(expected, found, *item)}" for item in lonely]
        result.score = max([result.score, *gaps])
    return result


def sides_of(model):
    """The module that runs a kind of network and its graph for the gate: `graph`, `run_checkpoint`, `same_in_parts`."""
    return {yolact: parity_yolact, rtmdet_ins: parity_rtmdet_ins}.get(family_of(model), parity_mask_rcnn)


def run_checkpoint(model, image):
    """What the checkpoint's graph should answer, by name, to a [3, H, W] uint8 BGR tensor."""
    return sides_of(model).run_checkpoint(model, image)


def _note_differences(result, expected, found, pairs, frame, mask_threshold):
    """Note into a Parity how paired boxes and masks differ; `frame` is height and width of the image, and its Placement."""
    result.detections += len(pairs)
    for first, second in pairs:
        result.box_px = max(result.box_px, float(np.abs(expected.boxes[first] - found.boxes[second]).max()))
        result.mask_probability = max(result.mask_probability,
                                      float(np.abs(expected.masks[first] - found.masks[second]).max()))
        iou, undecided = _mask_iou((expected, first), (found, second), frame, mask_threshold)
        result.mask_iou, result.undecided = min(result.mask_iou, iou), result.undecided + undecided


def _score_gap(expected, found, pair):
    return float(np.abs(expected.scores[pair[0]] - found.scores[pair[1]]))


def _mask_iou(one, other, frame, threshold):
    """IoU of the masks of two (Found, index), and whether pixels at the threshold had to be left out (1) or not (0)."""
    size_hw, placement = frame
    left, top, right, bottom = placement.to_image(one[0].boxes[one[1]]).round().astype(int)  # masks may cover more than their box

    def paste(side, threshold):
        found, index = side
        rles = paste_rles(placement.to_image(found.windows[index:index + 1]), found.masks[index:index + 1], size_hw, threshold)
        pixels = coco_mask.decode(rles[0]).astype(bool)
        return pixels if found.windows is found.boxes else pixels[top:bottom, left:right]

    ours, theirs = paste(one, threshold), paste(other, threshold)
    if (ours & theirs).sum() >= Tolerance.mask_iou * (ours | theirs).sum():  # two empty masks are equal
        return (float((ours & theirs).sum() / (ours | theirs).sum()) if ours.any() else 1.0), 0
    at_threshold = paste(one, threshold - PIXEL_EDGE) & ~paste(one, threshold + PIXEL_EDGE)
    ours, theirs = ours & ~at_threshold, theirs & ~at_threshold
    return (float((ours & theirs).sum() / (ours | theirs).sum()) if (ours | theirs).any() else 1.0), 1


def _describe(expected, found, side, index):
    own = (expected, found)[side]
    return (f"only the {'exported model' if side else 'checkpoint'} finds label {own.labels[index]} with score "
            f"{own.scores[index]:.4f} at {np.round(own.boxes[index], 1).tolist()}")
