"""What the parity gate allows, and what it found. Needs no torch."""

from dataclasses import dataclass, field, replace

import numpy as np

from instance_segmentation.errors import ExportError


@dataclass(frozen=True)
class Tolerance:
    """Largest differences the gate accepts.

    Attributes:
        box_px: Corner coordinates, in pixels of the network's input.
        score: Scores.
        mask: Mask probabilities at the same place; how much more two boxes that differ explain: `parity_masks`.
        mask_iou: Lowest IoU of two pasted masks, of the pixels that rounding cannot decide.
        strays: Share of a mask's cells that may differ by more than `mask`.
        maps: Values of the RPN's maps (logits and deltas), of which the largest is 100 or less; in proportion above.
        unexplained: Share of detections that may lack a partner without an excuse.
        pair_px: Detections whose corners differ by more are not taken for the same one.
    """

    box_px: float = 0.01
    score: float = 1e-4
    mask: float = 1e-3
    mask_iou: float = 0.999
    strays: float = 0.0
    maps: float = 1e-3
    unexplained: float = 0.0
    pair_px: float = 0.5

    def amplified(self):
        """The same for detections that earlier rounding moved, while every part of the network agrees on its own."""
        return replace(self, box_px=10 * self.box_px, score=10 * self.score, mask=100 * self.mask)


STRICT_TOLERANCE = Tolerance()
FP16_TOLERANCE = Tolerance(box_px=2.0, score=0.05, mask=0.05, mask_iou=0.9, strays=0.1, maps=0.2, unexplained=0.1, pair_px=4.0)


@dataclass(frozen=True)
class Gap:
    """How two paired detections differ: corners in pixels of the input, scores, and a `parity_masks.MaskGap`."""

    box_px: float
    score: float
    mask: object

    def within(self, tolerance):
        """Whether all of it is within a Tolerance."""
        return (self.box_px <= tolerance.box_px and self.score <= tolerance.score and self.mask.strays <= tolerance.strays
                and self.mask.decided_iou >= tolerance.mask_iou)


@dataclass
class Parity:
    """Largest differences over all images.

    Attributes:
        real_images: Number of the user's images; 0 means that only noise was seen.
        images: Number of all images, the black one included.
        silent: Number of those, the black one left out, on which no detection was found by both sides.
        detections: Paired detections.
        box_px, score, mask_probability: Largest differences.
        mask_excess: Largest difference of mask probabilities beyond what follows from the boxes' (`parity_masks`).
        mask_strays: Largest share of a mask's cells whose excess is more than rounding.
        mask_iou: Lowest IoU.
        amplified: Detections further apart than the tolerance although every part of the network agrees.
        amplified_box_px, amplified_score, amplified_mask: Their largest differences.
        undecided: Masks of which pixels at the threshold were left out.
        excused: Detections without a partner because of ties.
        unexplained: A sentence for each other detection without a partner.
        broken: A sentence for each side and image with numbers that are none.
        facts: A sentence for each thing that the exported model says wrongly about itself.
    """

    real_images: int
    images: int = 0
    silent: int = 0
    detections: int = 0
    box_px: float = 0.0
    score: float = 0.0
    mask_probability: float = 0.0
    mask_excess: float = 0.0
    mask_strays: float = 0.0
    mask_iou: float = 1.0
    amplified: int = 0
    amplified_box_px: float = 0.0
    amplified_score: float = 0.0
    amplified_mask: float = 0.0
    undecided: int = 0
    excused: int = 0
    unexplained: list = field(default_factory=list)
    broken: list = field(default_factory=list)
    facts: list = field(default_factory=list)

    def note(self, gap, tolerance, explained):
        """Take the Gap of two paired detections in; `explained` when it lies beyond the tolerance, and the parts agree."""
        self.detections += 1
        self.mask_probability = max(self.mask_probability, gap.mask.probability)
        if explained:
            self.amplified += 1
            self.amplified_box_px = max(self.amplified_box_px, gap.box_px)
            self.amplified_score = max(self.amplified_score, gap.score)
            self.amplified_mask = max(self.amplified_mask, gap.mask.excess)
            return
        self.box_px, self.score = max(self.box_px, gap.box_px), max(self.score, gap.score)
        self.mask_excess, self.mask_strays = max(self.mask_excess, gap.mask.excess), max(self.mask_strays, gap.mask.strays)
        undecided = gap.mask.iou < tolerance.mask_iou <= gap.mask.decided_iou
        self.undecided += undecided
        self.mask_iou = min(self.mask_iou, gap.mask.iou if gap.mask.iou >= tolerance.mask_iou else gap.mask.decided_iou)

    def note_broken(self, image, **sides):
        """Take in what each side computed (name → array); returns whether NaN or infinity is among it."""
        for side, answer in sides.items():
            if wrong := [name for name, values in answer.items() if not np.isfinite(values).all()]:
                self.broken.append(f"{image}: {side.replace('_', ' ')}'s {', '.join(wrong)}")
        return any(sentence.startswith(f"{image}: ") for sentence in self.broken)

    def summary(self):
        """One line for the terminal."""
        text = f"parity on {self.images} images, {self.detections} detections: "
        if self.detections:
            text += (f"boxes ≤ {self.box_px:.1g} px, scores ≤ {self.score:.1g}, masks IoU ≥ {self.mask_iou:.4f} "
                     f"(probabilities ≤ {self.mask_probability:.1g})")
        else:
            text += "only maps were compared"
        notes = ((self.silent if self.detections else 0, "images without detections, only maps were compared there"),
                 (self.excused, "on one side only, decided by rounding"),
                 (self.amplified, f"moved by earlier rounding, boxes ≤ {self.amplified_box_px:.1g} px, scores ≤ "
                  f"{self.amplified_score:.2g}, mask probabilities ≤ {self.amplified_mask:.2g}"),
                 (self.undecided, "masks compared without pixels at the threshold"),
                 (len(self.unexplained), "on one side only"))
        return "; ".join([text, *(f"{count} {what}" for count, what in notes if count)])

    def check(self, tolerance=Tolerance()):
        """Raise ExportError when a difference is above the tolerance."""
        if problems := [*self._problems(tolerance)]:
            raise ExportError(f"the exported model does not compute what the checkpoint computes ({self.images} images):\n  "
                              + "\n  ".join(problems) +
                              "\nNothing was written. Please report this with the checkpoint's model.py.")

    def _problems(self, tolerance):
        yield from self.facts
        if self.broken:
            yield (f"NaN or infinite numbers {len(self.broken)} times, first: {self.broken[0]}. A checkpoint that computes them "
                   "is of no use: train again with a lower --base-learning-rate")
        limit = tolerance.amplified()
        for what, value, allowed in (
                ("boxes differ by {} px", self.box_px, tolerance.box_px), ("scores differ by {}", self.score, tolerance.score),
                ("boxes moved by rounding differ by {} px", self.amplified_box_px, limit.box_px),
                ("scores moved by rounding differ by {}", self.amplified_score, limit.score),
                ("mask probabilities moved by rounding differ by {}", self.amplified_mask, limit.mask)):
            if not value <= allowed:
                yield f"{what.format(f'{value:.4g}')}, allowed {allowed:g}"
        if not self.mask_strays <= tolerance.strays:
            yield (f"a mask's probabilities differ by {self.mask_excess:.4g} in {self.mask_strays:.2%} of its cells, allowed "
                   f"{tolerance.mask:g}" + (f" beyond {tolerance.strays:.0%} of them" if tolerance.strays else ""))
        if not self.mask_iou >= tolerance.mask_iou:
            yield f"a mask's IoU is {self.mask_iou:.5f}, required {tolerance.mask_iou:g}"
        if len(self.unexplained) > tolerance.unexplained * (self.detections + len(self.unexplained)):
            yield f"{len(self.unexplained)} detections are on one side only, first: {self.unexplained[0]}"
