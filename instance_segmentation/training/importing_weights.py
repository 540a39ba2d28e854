"""`instseg import-weights`: weights that another tool trained, as a checkpoint of ours."""

import ast
from dataclasses import dataclass
from pathlib import Path

from instance_segmentation.errors import WeightsError
from instance_segmentation.report import file_record
from instance_segmentation.templates.catalogue import find_template

NESTS = ("blobs", "model", "state_dict")  # where Detectron, Detectron2 and mmdet keep the tensors


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        path: The checkpoint.
        template: Name of the template whose network it fills.
        source: Title of the tool that the weights are from.
        classes: Names in label order.
        used: Pairs of a tensor's name there and here.
        compared: Names there of what describes the network and agrees with the template's.
        unused: Names there of everything else in the file, entries beside the tensors included.
    """

    path: Path
    template: str
    source: str
    classes: tuple
    used: list
    compared: list
    unused: list

    def rows(self):
        """Rows (what, how many, which) of the table that accounts for every tensor."""
        momenta = [name for name in self.unused if name.endswith("_momentum")]  # Detectron's, one per tensor that it trained
        rest = [name for name in self.unused if name not in momenta]
        rows = [("used", self.used, f"{self.used[0][0]} → {self.used[0][1]}, …"),
                ("agree with the template", self.compared, ", ".join(self.compared)),
                ("unused", rest, ", ".join(rest)), ("unused: the optimizer's *_momentum", momenta, "")]
        return [(what, len(names), which) for what, names, which in rows if names]


def import_weights(file, template, output, *, source="auto", classes=None, trust_checkpoint=False):
    """Turn another tool's weights into a checkpoint with config, class list and provenance.

    Args:
        file: .pkl of Detectron or Detectron2; .pth of Detectron2, maskrcnn-benchmark, torchvision or mmdet 2.
        template: Name or path of the template whose network computes as that tool does.
        output: The .pth file to write.
        source: A key of `foreign_weights.SOURCES`, or "auto".
        classes: Names in label order; the file's own, or COCO's where their number fits, when None.
        trust_checkpoint: Unpickle arbitrary objects of a .pth file, which can run code.

    Returns:
        An ImportResult.

    Raises:
        WeightsError: The file could run code, or does not fill the template's network exactly.
    """
    file, output, template = Path(file), Path(output), find_template(template)
    _check_paths(file, output)
    from instance_segmentation.engine import register
    register("Importing weights")
    from instance_segmentation.engine.network import save_network
    tensors, meta, others = read_foreign(file, trust_checkpoint)
    tool, record = _source(file, tensors, source), file_record(file)
    try:
        model, translation, compared = _filled(tool, record["sha256"], tensors, meta, template, classes)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error
    unused = [name for name in translation.unused if name not in compared] + others
    output.parent.mkdir(parents=True, exist_ok=True)
    save_network(model, output, template.name, imported=dict(
        tool=tool.title, unused=unused, file=record["name"], sha256=record["sha256"], size=record["size"]))
    return ImportResult(output, template.name, tool.title, model.dataset_meta["classes"], translation.used, compared, unused)


def _filled(tool, sha256, tensors, meta, template, classes):
    """The template's network with a file's weights, their Translation, and the names of tensors that were compared."""
    from instance_segmentation.engine.config import read_config, set_classes
    from instance_segmentation.engine.foreign_weights import check_complete, check_stated, epsilon_of, translate
    from instance_segmentation.engine.network import build_network
    cfg = read_config(template.path / template.config)
    _check_conventions(tool, meta, cfg, template.name)
    translation = translate(tool, tensors, epsilon_of(tool, sha256))
    classes = _classes(translation.state, meta, classes)
    set_classes(cfg, classes)
    model = build_network(cfg, classes)
    compared = check_stated(tool, {name: tensors[name] for name in translation.unused}, model)
    check_complete(translation, model.state_dict(), template.name)
    model.load_state_dict(translation.state, strict=False)
    return model, translation, compared


def _check_paths(file, output):
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; give the .pkl or .pth file with the weights")
    if output.suffix != ".pth" or output.is_dir():
        raise WeightsError(f"-o {output}: expected the name of a .pth file to write")
    if output.exists():
        raise WeightsError(f"-o {output}: exists; choose another name, or remove it")


def read_foreign(file, trust=False):
    """Read a file of another tool without running what it asks for.

    Returns:
        Tensors by name, the file's `meta` or {}, and the names of all other entries.

    Raises:
        WeightsError: It cannot be read so, or holds no tensors.
    """
    import numpy as np
    import torch

    from instance_segmentation.engine.checkpoint import read_torch_file
    from instance_segmentation.engine.plain_pickle import read_plain_pickle
    content = read_plain_pickle(file) if file.suffix == ".pkl" else read_torch_file(file, trust)
    if not isinstance(content, dict):
        raise WeightsError(f"{file}: expected a dict of tensors, or one that has them under {', '.join(NESTS)}, "
                           f"got {type(content).__name__}")
    nest = next((key for key in NESTS if isinstance(content.get(key), dict)), None)
    entries, around = (content[nest], {key: value for key, value in content.items() if key != nest}) if nest else (content, {})
    tensors, others = {}, list(around)
    for name, value in entries.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
        if isinstance(value, torch.Tensor):
            tensors[str(name).removeprefix("module.")] = value
        else:
            others.append(str(name))
    if not tensors:
        raise WeightsError(f"{file}: holds no tensors under {', '.join(NESTS)} or at the top; is it a file of weights?")
    meta = around.get("meta")
    return tensors, meta if isinstance(meta, dict) else {}, others


def _source(file, tensors, asked):
    """The Source that the user names, or the one that the tensors' names tell."""
    from instance_segmentation.engine.foreign_weights import SOURCES, find_source
    found = find_source(tensors)
    if asked == "auto" and found is None:
        raise WeightsError(f"{file}: no tool's names are in it (first: {', '.join(list(tensors)[:3])}); known are "
                           f"{', '.join(SOURCES)}. A backbone alone needs no import: train.py --load-weights takes it")
    if asked not in ("auto", found):
        raise WeightsError(f"{file}: --source says {asked}, its names are {found or 'no known tool'}'s; leave --source out")
    return SOURCES[found]


def _check_conventions(source, meta, cfg, template):
    """Refuse a template whose network would compute something else with the same weights."""
    if cfg.get("conventions") not in source.conventions:
        raise WeightsError(f"{source.title} counts pixels and anchors in its own way, and the network of --template {template} "
                           f"would find other boxes with its weights; use {source.template}, or that of its depth (`instseg ls`)")
    pixels, backbone = cfg.model.data_preprocessor, cfg.model.backbone
    for key, here in (("style", backbone.get("style")), ("mean", pixels.mean), ("std", pixels.std)):
        there = _stated(meta.get("config"), key)
        if here is not None and there and here not in there:
            raise WeightsError(f"its configuration says {key}={there[0]}, the template {template} {key}={here}; choose a "
                               "template that says the same (`instseg ls`)")


def _stated(config, key):
    """The values that a config's text, as mmdet 2 keeps it, gives to a keyword; read, not run."""
    try:
        nodes = ast.walk(ast.parse(config)) if isinstance(config, str) else ()
    except SyntaxError:
        return []
    values = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == key]
    return [ast.literal_eval(value) for value in values if isinstance(value, (ast.Constant, ast.List))]


def _classes(state, meta, asked):
    """Class names for the classification's rows, which end with the background."""
    from instance_segmentation.engine.checkpoint import classes_of
    classes, scores = asked or classes_of(dict(meta=meta, state_dict=state)), state.get("roi_head.bbox_head.fc_cls.weight")
    if not classes:
        raise WeightsError("names no classes, and does not have COCO's 80; name them with --classes, in the order of its labels")
    if scores is not None and len(classes) != len(scores) - 1:
        raise WeightsError(f"--classes: got {len(classes)} names, its classification has {len(scores) - 1} classes")
    return classes
