"""What a model takes and gives, and which programs can run it. Needs no torch.

The demands of the Open Model Zoo demo are those of its `get_model`, `ImageModel`, `MaskRCNNModel` and `YolactModel`
(open_model_zoo, demos/common/python/model_zoo/model_api/models, 2022.3 to 2024); those of Model API are version 0.4.7's. Both
tell a Mask R-CNN's outputs apart by their ranks alone, and neither the demo nor OpenVINO notices when it gets the wrong pixels.
"""

import re
from collections import Counter
from dataclasses import dataclass

from instance_segmentation.inference.contracts import CONTRACTS, EXPLANATIONS, YOLACT
from instance_segmentation.inference.strangers import stranger_of
from instance_segmentation.ir.info import OWN_KEY, entries_of, read_graph
from instance_segmentation.ir.metadata import TRUE, is_background, json_object, takes_rgb

DEMO, MODEL_API, OURS = "Open Model Zoo demo", "Model API", "instseg demo"
CLIENTS = (DEMO, MODEL_API, OURS)
RANKS = {1: "labels", 2: "boxes", 3: "masks"}
SEGMENTOLY_RANKS = dict(boxes=2, classes=1, scores=1, raw_masks=4)


@dataclass(frozen=True)
class Port:
    """An input or output: its name (empty without one), lengths (-1 where not fixed; None when even the rank is open), type."""

    name: str
    shape: tuple | None
    type: str

    @property
    def rank(self):
        """Number of dimensions; None when it is open."""
        return None if self.shape is None else len(self.shape)

    def sides(self):
        """The shape for people, `[1, 3, ?, ?]`."""
        return "[…]" if self.shape is None else f"[{', '.join('?' if side < 0 else str(side) for side in self.shape)}]"

    def __str__(self):
        return f"{self.name or '(no name)'} {self.type} {self.sides()}"


@dataclass(frozen=True)
class Signature:
    """A model from outside: its Ports, and its `model_info` entries (key → text)."""

    inputs: tuple
    outputs: tuple
    entries: dict

    @property
    def stranger(self):
        """The `strangers.Stranger` that it is, or None."""
        return stranger_of(self.shapes()[1], self.entries)

    @property
    def kind(self):
        """The one of `contracts.CONTRACTS` that it fulfils, or None."""
        if self.stranger:
            return None
        return next((contract for contract in CONTRACTS if not contract.lacks(*self.shapes())), None)

    def shapes(self):
        """Name → shape, of the inputs and of the outputs."""
        return tuple({port.name or f"{kind}_{index}": port.shape or () for index, port in enumerate(ports)}
                     for kind, ports in (("input", self.inputs), ("output", self.outputs)))


@dataclass(frozen=True)
class Check:
    """One demand.

    Attributes:
        demand: In words.
        clients: Those of CLIENTS that make it.
        failure: What is wrong and what to do; empty when the demand is met.
    """

    demand: str
    clients: tuple
    failure: str = ""


def read_signature(path):
    """The Signature of an .xml, .bin or .onnx.

    Raises:
        WeightsError: A file is missing or damaged.
    """
    model = read_graph(path)
    return Signature(tuple(map(_port, model.inputs)), tuple(map(_port, model.outputs)), entries_of(model))


def _port(node):
    shape = node.get_partial_shape()
    sides = None if shape.rank.is_dynamic else tuple(side.get_length() if side.is_static else -1 for side in shape)
    return Port(min(node.get_names(), default=""), sides, node.get_element_type().get_type_name())


def check(signature):
    """Every demand on a model of its kind, met or not, as Checks."""
    if signature.stranger:
        clients = [client for client in CLIENTS if not (signature.stranger.model_api and client == MODEL_API)]
        return [Check("a Mask R-CNN or YOLACT that these programs know", tuple(clients),
                      f"it is {signature.stranger.title}; {signature.stranger.remedy}")]
    names = {port.name for port in signature.outputs}
    if len(signature.inputs) == 1 and len(names) == 4 and "proto" in names:  # how the demo chooses
        return [*_inputs(signature), *_yolact_outputs(signature.outputs), *_pixels(signature.entries), _known(signature)]
    outputs = _segmentoly_outputs if len(signature.inputs) == 2 else _ranked_outputs
    return [*_inputs(signature), *outputs(signature.outputs), *_pixels(signature.entries), *_for_model_api(signature.entries),
            _known(signature)]


def _inputs(signature):
    """The image, and Segmentoly's `im_info`."""
    both, ports = (DEMO, MODEL_API), signature.inputs
    unnamed = [port for port in (*ports, *signature.outputs) if not port.name]
    yield Check("every input and output has a name", both, _unless(
        not unnamed, f"{len(unnamed)} have none; name them with set_names() of OpenVINO and save the model again"))
    ranks = sorted(port.rank or 0 for port in ports)
    yield Check("one input, the image; two (image and im_info) for Segmentoly's models", both, _unless(
        ranks in ([4], [2, 4]), f"it has {_list(ports)}; make everything but the image a constant of the graph"))
    image = next((port for port in ports if port.rank == 4), None)
    shown = f"it is {_list([image] if image else ports)}"
    yield Check("the image is [1, 3, H, W] or [1, H, W, 3], its lengths fixed", both, _unless(
        image and image.shape[0] in (1, -1) and _is_image(image.shape),
        f"{shown}; fix its shape with OpenVINO's reshape(), or export with --input-size"))
    yield Check("the number of images is fixed, too", (DEMO,), _unless(
        image is None or image.shape[0] != -1, f"{shown}; fix it with OpenVINO's reshape()"))


def _is_image(shape):
    channels = shape[1] if shape[1] in range(1, 5) else shape[3]  # the demo guesses the layout like this
    return min(shape[1:]) > 0 and channels == 3


def _ranked_outputs(ports):
    """Mask R-CNN with its outputs told apart by rank."""
    both, shown = (DEMO, MODEL_API), f"it has {_list(ports)}"
    named = [port for port in ports if not port.name.startswith("TopK")]  # both clients pass these over
    plain = [port for port in named if port.name not in EXPLANATIONS]
    ranks = Counter(port.rank for port in plain)
    yield Check("outputs of ranks 1, 2 and 3 (labels, boxes, masks), one of each and no others", (DEMO,), _unless(
        len(ports) in (3, 4, 5, 8) and Counter(port.rank for port in named) == Counter(RANKS.keys()),
        f"{shown}; remove outputs of other ranks and the batch dimension"))
    single = all(ranks[rank] == 1 for rank in RANKS)
    batched = not single and all(ranks[rank + 1] == 1 for rank in RANKS)
    yield Check("the same, or all three with a batch dimension; others beside them", (MODEL_API,), _unless(
        len(ports) in (3, 4, 5, 6, 8) and (single or batched), f"{shown}; leave one output of each rank"))
    of = {RANKS.get((port.rank or 0) - batched): port for port in plain}
    boxes, labels = of.get("boxes"), of.get("labels")
    yield Check("boxes have 5 columns: x1 y1 x2 y2 score", both, _unless(
        boxes and boxes.shape[-1] in (5, -1), f"they are {boxes}; append the scores as a fifth column" if boxes else shown))
    yield Check("labels are integers: the demo casts them, Model API looks names up with them", both, _unless(
        labels and re.fullmatch("[iu](8|16|32)|i64", labels.type), f"they are {labels}; make them i64" if labels else shown))


def _segmentoly_outputs(ports):
    """Segmentoly's Mask R-CNN: outputs by name, no others allowed."""
    yield Check("outputs boxes [N, 4], classes [N], scores [N], raw_masks [N, C, m, m], no others", (DEMO, MODEL_API), _unless(
        {port.name: port.rank for port in ports} == SEGMENTOLY_RANKS, f"it has {_list(ports)}; remove or rename the others"))


def _yolact_outputs(ports):
    """YOLACT: outputs by name, no others allowed."""
    yield Check("outputs boxes, conf, mask of rank 3 and proto of rank 4", (DEMO,), _unless(
        {port.name: port.rank for port in ports} == YOLACT.outputs, f"it has {_list(ports)}; rename them"))
    sides = next((port.shape[1:3] for port in ports if port.name == "proto" and port.rank == 4), (0, 0))
    yield Check("proto's masks are square: the demo takes their width for their height", (DEMO,), _unless(
        sides[0] == sides[1], f"they are {sides[0]} by {sides[1]}; use instseg demo"))
    yield Check("a Mask R-CNN: there is no wrapper for YOLACT any more", (MODEL_API,), "it is a YOLACT; use instseg demo")


def _pixels(entries):
    """What the metadata says about the pixels; clients feed what OpenCV reads, BGR from 0 to 255."""
    neutral = dict(mean_values=0, scale_values=1)
    asked = [key for key, harmless in neutral.items() if not _is_neutral(entries.get(key, ""), harmless)]
    asked += ["reverse_input_channels"] * (entries.get("reverse_input_channels", "").upper() in TRUE)
    asked += ["intensity_mode"] * (entries.get("intensity_mode", "none") not in ("", "none"))
    rgb = not asked and _takes_rgb(entries)
    order = ("it takes RGB, and clients feed the BGR that OpenCV reads: they would find wrong objects. Export it with "
             "--openvino-input-format BGR, or use instseg demo, which turns the channels")
    demand = "raw BGR pixels from 0 to 255: " + (
        "its metadata asks for nothing else" if entries else "it has no metadata that says otherwise; mean and scale must be "
        "inside")
    yield Check(demand, (DEMO,), order if rgb else _unless(
        not asked, f"its metadata asks for {', '.join(asked)}, which the demo does not read: it would find wrong objects. Put "
        "them into the graph with OpenVINO's PrePostProcessor and drop the entries"))
    yield Check("pixels as OpenCV reads them, or as its metadata asks for", (MODEL_API,), _unless(
        not rgb, order + ", or give Model API RGB images: image[..., ::-1]"))
    resize = entries.get("resize_type", "standard")
    yield Check("images are resized without keeping the aspect ratio", (DEMO,), _unless(
        resize == "standard", f"its metadata says resize_type '{resize}', which the demo does not read: it would stretch images; "
        "use instseg demo or Model API"))


def _is_neutral(text, harmless):
    """Whether mean or scale change nothing; a text that is no number is none that does not."""
    try:
        return all(float(part) == harmless for part in text.split())
    except ValueError:
        return False


def _takes_rgb(entries):
    own = json_object(entries.get(OWN_KEY, "{}"), OWN_KEY, "the model")
    return own.get("channel_order", "RGB" if takes_rgb(entries) else "BGR") == "RGB"


def _for_model_api(entries):
    """What Model API wants to know of a Mask R-CNN."""
    kind = entries.get("model_type", "")
    yield Check("metadata model_type is MaskRCNN", (MODEL_API,), _unless(
        kind.lower() == "maskrcnn", f"it is '{kind}'; pass configuration={{'model_type': 'MaskRCNN'}}" if kind else
        "there is none; pass model_type='MaskRCNN' to create_model"))
    first = next(iter(entries.get("labels", "").split()), "")
    yield Check("metadata labels begin with a name for the background: 1 is added to every label", (MODEL_API,), _unless(
        first and is_background(first), f"they begin with '{first}'; put otx_empty_lbl first" if first else
        "there are none; pass configuration={'labels': ['otx_empty_lbl', …]}"))


def _known(signature):
    lacks = "; ".join(f"{item.title}: lacks {', '.join(item.lacks(*signature.shapes()))}" for item in CONTRACTS)
    return Check("one of the kinds of models it knows", (OURS,), "" if signature.kind else lacks)


def _unless(fulfilled, failure):
    return "" if fulfilled else failure


def _list(ports):
    return ", ".join(map(str, ports)) or "none"
