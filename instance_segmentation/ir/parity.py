"""The parity gate: the checkpoint and its exported graph must find the same objects in the same images.

Both get the same resized image. Detections are paired within a label, nearest boxes first, and every pair is compared.
A detection without a partner is excused only where rounding alone decides:
  - its score lies within 1e-4 of the score threshold, or of the lowest score that fitted into a full list;
  - a detection of the other side overlaps it and has the same score within 1e-6: which one suppresses which is open;
  - its IoU with a detection of the other side lies within 1e-3 of the NMS threshold, or it is suppressed by an excused one;
  - it comes from a region proposal that only one side has (the proposals went through a TopK and an NMS of their own):
    the checkpoint's heads, given the graph's proposals, find it too, and at most 5 % of the proposals differ.
The last two happen when many boxes are nearly alike, as with little-trained networks; all are counted and reported.
Where the IoU of two masks is below 0.999, pixels whose probability lies within 1e-3 of the threshold are left out; such
masks are counted too.
On a plain black image every anchor ties with its neighbours, so there only the run and the shapes are checked.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from instance_segmentation.errors import ExportError
from instance_segmentation.inference.masks import paste_rles
from instance_segmentation.ir.graph import PROPOSALS
from instance_segmentation.ir.session import compile_ir

SCORE_EDGE, SCORE_TIE, IOU_EDGE, PIXEL_EDGE, PROPOSAL_SHARE = 1e-4, 1e-6, 1e-3, 1e-3, 0.05


@dataclass(frozen=True)
class Tolerance:
    """Largest differences the gate accepts.

    Attributes:
        box_px: Corner coordinates, in pixels of the network's input.
        score: Scores.
        mask_iou: Lowest IoU of two pasted masks (pixels of the image).
        unexplained: Share of detections that may lack a partner without an excuse.
        pair_px: Detections whose corners differ by more are not taken for the same one.
    """

    box_px: float = 0.01
    score: float = 1e-4
    mask_iou: float = 0.999
    unexplained: float = 0.0
    pair_px: float = 0.5


FP16_TOLERANCE = Tolerance(box_px=2.0, score=0.05, mask_iou=0.9, unexplained=0.1, pair_px=4.0)


@dataclass
class Detections:
    """One image's result: boxes (N, 4) in pixels of the input, scores (N,), labels (N,), masks (N, m, m) in [0, 1]."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


@dataclass
class Parity:
    """Largest differences over all images.

    Attributes:
        real_images: Number of the user's images; 0 means that only noise was seen.
        images: Number of all images, the black one included.
        detections: Paired detections.
        box_px, score, mask_probability: Largest differences.
        mask_iou: Lowest IoU.
        undecided: Masks of which pixels at the threshold were left out.
        excused: Detections without a partner that the rules excuse.
        unexplained: A sentence for each other detection without a partner.
    """

    real_images: int
    images: int = 0
    detections: int = 0
    box_px: float = 0.0
    score: float = 0.0
    mask_probability: float = 0.0
    mask_iou: float = 1.0
    undecided: int = 0
    excused: int = 0
    unexplained: list = field(default_factory=list)

    def summary(self):
        """One line for the terminal."""
        text = (f"parity on {self.images} images, {self.detections} detections: boxes ≤ {self.box_px:.1g} px, "
                f"scores ≤ {self.score:.1g}, masks IoU ≥ {self.mask_iou:.4f} (probabilities ≤ {self.mask_probability:.1g})")
        if self.excused:
            text += f"; {self.excused} on one side only, decided by rounding"
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
        if not self.mask_iou >= tolerance.mask_iou:
            problems.append(f"a mask's IoU is {self.mask_iou:.5f}, required {tolerance.mask_iou:g}")
        if len(self.unexplained) > tolerance.unexplained * (self.detections + len(self.unexplained)):
            problems.append(f"{len(self.unexplained)} detections are on one side only, first: {self.unexplained[0]}")
        if problems:
            raise ExportError(f"the exported model does not compute what the checkpoint computes ({self.images} images):\n  "
                              + "\n  ".join(problems) +
                              "\nNothing was written. Please report this with the checkpoint's model.py.")


def compare(model, ir, image_files=(), channel_order="BGR", pair_px=Tolerance.pair_px):
    """Run the checkpoint's network and the graph on the same images.

    Args:
        model: The mmdet detector with `input_size`.
        ir: The ov.Model built from it, as read from its file.
        image_files: The user's images; without any, three images of seeded noise stand in. A black image always follows.
        channel_order: What the graph expects, `BGR` or `RGB`.
        pair_px: See Tolerance.

    Returns:
        A Parity.
    """
    graph = _Graph(ir, channel_order)
    result = Parity(real_images=len(image_files))
    for name, image, size_hw in _images(model.input_size, image_files):
        found, proposals = graph(image)
        expected = run_checkpoint(model, image)
        result.images += 1
        if name == "black":
            continue
        pairs, lonely = pair_up(expected, found, pair_px)
        _note_differences(result, expected, found, pairs, size_hw, model)
        if lonely:
            lonely, excused = _excuse(model, expected, found, lonely)
            if lonely and _same_with_proposals(model, image, found, proposals):
                lonely, excused = [], excused + len(lonely)
            result.excused += excused
            result.unexplained += [f"{name}: {_describe(expected, found, *item)}" for item in lonely]
    return result


def _images(input_size, files):
    """Yield (name, image [3, H, W] uint8 BGR tensor, original size) from the test pipeline; the last is black."""
    from mmcv.transforms import Compose
    from mmdet.registry import TRANSFORMS
    height, width = input_size
    steps = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(width, height), keep_ratio=False),
             dict(type="PackDetInputs", meta_keys=("ori_shape",))]
    pipeline = Compose([TRANSFORMS.build(dict(step, _scope_="mmdet")) for step in steps])
    for file in files:
        packed = pipeline(dict(img_path=str(file)))
        yield str(file), packed["inputs"], packed["data_samples"].ori_shape
    for seed in range(0 if len(files) else 3):
        yield f"noise {seed}", _noise(input_size, seed), input_size
    yield "black", torch.zeros((3, *input_size), dtype=torch.uint8), input_size


def _noise(size_hw, seed):
    """Seeded noise with coarse and fine structure; plain white noise excites few detections."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.nn.functional.interpolate(torch.randn(1, 3, 2 ** level, 2 ** level, generator=generator) / level,
                                              size=size_hw, mode="bilinear") for level in range(1, 7)]
    return (sum(layers)[0] * 60 + 120).clamp(0, 255).to(torch.uint8)


class _Graph:
    """The compiled graph with its region proposals as a fourth output."""

    def __init__(self, ir, channel_order):
        ir = ir.clone()
        node = next(node for node in ir.get_ops() if node.get_friendly_name() == PROPOSALS)
        ir.add_outputs(node.output(0))
        self.compiled, self.channel_order = compile_ir(ir), channel_order

    def __call__(self, image):
        image = image if self.channel_order == "BGR" else image.flip(0)
        answer = self.compiled(image[None].float().numpy())
        boxes, labels, masks = (answer[name] for name in ("boxes", "labels", "masks"))
        return Detections(boxes[:, :4], boxes[:, 4], labels, masks), answer[3]


@torch.inference_mode()
def run_checkpoint(model, image, proposals=None):
    """The checkpoint's detections in pixels of the network's input, by mmdet's own code.

    Args:
        model: The detector.
        image: [3, H, W] uint8 tensor, BGR.
        proposals: Region proposals (K, 4) to use instead of the network's own.
    """
    meta = dict(img_shape=model.input_size, ori_shape=model.input_size, scale_factor=(1.0, 1.0))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)]))
    features, samples = model.extract_feat(data["inputs"]), data["data_samples"]
    if proposals is None:
        regions = model.rpn_head.predict(features, samples, rescale=False)
    else:
        regions = [InstanceData(bboxes=torch.from_numpy(proposals))]
    heads, metas = model.roi_head, [sample.metainfo for sample in samples]
    found = heads.predict_bbox(features, metas, regions, model.test_cfg.rcnn, rescale=False)[0]
    masks = heads._mask_forward(features, bbox2roi([found.bboxes]))["mask_preds"].sigmoid()
    channels = found.labels * 0 if heads.mask_head.class_agnostic else found.labels
    return Detections(*(tensor.numpy() for tensor in (found.bboxes, found.scores, found.labels,
                                                      masks[range(len(masks)), channels])))


def pair_up(expected, found, pair_px=Tolerance.pair_px):
    """Pair detections of the same label, nearest boxes first.

    Returns:
        Pairs (index in expected, index in found), and those without a partner as (side, index), side 0 being expected.
    """
    distance = np.abs(expected.boxes[:, None] - found.boxes[None]).max(2, initial=0)
    distance = distance + np.abs(expected.scores[:, None] - found.scores[None])
    distance[expected.labels[:, None] != found.labels[None]] = np.inf
    pairs, left = [], [set(range(len(expected.boxes))), set(range(len(found.boxes)))]
    for flat in np.argsort(distance, axis=None, kind="stable"):
        first, second = np.unravel_index(flat, distance.shape)
        if distance[first, second] > pair_px:
            break
        if first in left[0] and second in left[1]:
            pairs.append((first, second))
            left[0].remove(first)
            left[1].remove(second)
    return pairs, [(side, index) for side in (0, 1) for index in sorted(left[side])]


def _note_differences(result, expected, found, pairs, size_hw, model):
    result.detections += len(pairs)
    scale = np.tile(np.array(size_hw[::-1]) / model.input_size[::-1], 2).astype(np.float32)
    for first, second in pairs:
        result.box_px = max(result.box_px, float(np.abs(expected.boxes[first] - found.boxes[second]).max()))
        result.score = max(result.score, float(np.abs(expected.scores[first] - found.scores[second])))
        result.mask_probability = max(result.mask_probability,
                                      float(np.abs(expected.masks[first] - found.masks[second]).max()))
        iou, undecided = _mask_iou(expected.boxes[first] * scale, expected.masks[first], found.boxes[second] * scale,
                                   found.masks[second], size_hw, model.test_cfg.rcnn.mask_thr_binary)
        result.mask_iou, result.undecided = min(result.mask_iou, iou), result.undecided + undecided


def _mask_iou(box, mask, other_box, other_mask, size_hw, threshold):
    """IoU of two pasted masks, and whether pixels at the threshold had to be left out (1) or not (0)."""
    def paste(box, mask, threshold):
        return coco_mask.decode(paste_rles(box[None], mask[None], size_hw, threshold)[0]).astype(bool)

    one, other = paste(box, mask, threshold), paste(other_box, other_mask, threshold)
    if (one & other).sum() >= Tolerance.mask_iou * (one | other).sum():  # two empty masks are equal
        return (float((one & other).sum() / (one | other).sum()) if one.any() else 1.0), 0
    at_threshold = paste(box, mask, threshold - PIXEL_EDGE) & ~paste(box, mask, threshold + PIXEL_EDGE)
    one, other = one & ~at_threshold, other & ~at_threshold
    return (float((one & other).sum() / (one | other).sum()) if (one | other).any() else 1.0), 1


def _excuse(model, expected, found, lonely):
    """Split detections without a partner: those that no rule excuses, and the number of the others."""
    config, sides, excused = model.test_cfg.rcnn, (expected, found), set()
    while True:
        more = {item for item in lonely if item not in excused
                and _is_borderline(sides[item[0]], item[1], sides[1 - item[0]], config,
                                   [index for side, index in excused if side != item[0]])}
        if not more:
            return [item for item in lonely if item not in excused], len(excused)
        excused |= more


def _is_borderline(own, index, other, config, other_excused):
    """Whether rounding alone can have decided about one detection."""
    score, full = own.scores[index], len(other.scores) >= config.max_per_img
    if abs(score - config.score_thr) <= SCORE_EDGE or (full and score <= other.scores.min() + SCORE_EDGE):
        return True
    same = other.labels == own.labels[index]
    overlap = _iou(own.boxes[index], other.boxes)
    if (same & (overlap > config.nms.iou_threshold) & (np.abs(other.scores - score) <= SCORE_TIE)).any():
        return True
    suppressed = [other_index for other_index in other_excused
                  if same[other_index] and overlap[other_index] > config.nms.iou_threshold - IOU_EDGE]
    return bool(suppressed) or bool((np.abs(overlap[same] - config.nms.iou_threshold) <= IOU_EDGE).any())


def _iou(box, boxes):
    """IoU of one box (4,) with boxes (N, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = sides.clip(0).prod(1)
    return common / np.maximum((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common, 1e-9)


def _same_with_proposals(model, image, found, proposals):
    """Whether the checkpoint's heads, given the graph's proposals, find what the graph found."""
    own = _proposals(model, image)
    nearest = np.array([np.abs(own - box).max(1).min(initial=np.inf) for box in proposals])
    if len(own) != len(proposals) or (nearest > Tolerance.box_px).mean() > PROPOSAL_SHARE:
        return False
    expected = run_checkpoint(model, image, proposals)
    pairs, lonely = pair_up(expected, found)
    close = all(np.abs(expected.boxes[i] - found.boxes[j]).max() <= Tolerance.box_px for i, j in pairs)
    return close and not _excuse(model, expected, found, lonely)[0]


@torch.inference_mode()
def _proposals(model, image):
    """The checkpoint's region proposals (K, 4)."""
    meta = dict(img_shape=model.input_size, ori_shape=model.input_size, scale_factor=(1.0, 1.0))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)]))
    return model.rpn_head.predict(model.extract_feat(data["inputs"]), data["data_samples"], rescale=False)[0].bboxes.numpy()


def _describe(expected, found, side, index):
    own = (expected, found)[side]
    return (f"only the {'exported model' if side else 'checkpoint'} finds label {own.labels[index]} with score "
            f"{own.scores[index]:.4f} at {np.round(own.boxes[index], 1).tolist()}")
