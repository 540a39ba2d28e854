"""Write a network as an OpenVINO IR or an ONNX model that passed the parity gate."""

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import openvino as ov

from instance_segmentation import __version__
from instance_segmentation.engine.complexity import complexity_gflops, size_mp
from instance_segmentation.engine.network import load_network
from instance_segmentation.errors import ExportError
from instance_segmentation.inference.contracts import Contract
from instance_segmentation.ir import parity
from instance_segmentation.ir.golden import FILES as GOLDEN
from instance_segmentation.ir.golden import write_golden
from instance_segmentation.ir.graph import build_ir, family_of, resize_of, thresholds_of
from instance_segmentation.ir.info import IrInfo, read_ir, rt_info, set_rt_info, update_info
from instance_segmentation.ir.parity_images import as_sent, images
from instance_segmentation.report import file_record


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The exported model (.xml, or .onnx). Beside it lie labels.txt and labels_nobg.txt; an .xml's weights and `golden/`.
        info: Its IrInfo.
        parity: The gate's Parity of the written file.
        contract: The `contracts.Contract` it fulfils.
        size_mb: Megabytes (10⁶ bytes) of model.xml and model.bin, or of the .onnx.
        golden: Number of detections in an .xml's golden samples; 0 when nothing was found in them, so that there are none.
    """

    path: Path
    info: IrInfo
    parity: parity.Parity
    contract: Contract
    size_mb: float
    golden: int = 0


def export_ir(weights, output_dir, *, network=None, config=None, template="", fp16=False, channel_order="BGR", samples=(),
              parity_images=8, tolerance=None, trust=False, judge=None, two_inputs=False):
    """Export a checkpoint.

    Args:
        weights: A .pth file.
        output_dir: Folder for model.xml, model.bin, labels.txt, labels_nobg.txt and `golden/` (see `ir.golden`). Files of these
            names are replaced, all together, and only after the gate was passed.
        network: What `load_network` made of it, when it is loaded already.
        config: A model.py, for checkpoints that do not hold their own.
        template: Name of the template, noted in the model.
        fp16: Store the weights as 16-bit floats; the graph still computes in 32.
        channel_order: What clients will send, `BGR` or `RGB`.
        samples: Image files for the parity gate; `parity_images` of them, evenly spaced, are used.
        parity_images: How many.
        tolerance: A `parity.Tolerance`; by default the strict one, or FP16_TOLERANCE with `fp16`.
        trust: Unpickle arbitrary objects of the checkpoint.
        judge: Called with the .xml that passed the gate; returns what the model shall say about itself besides, as fields of
            IrInfo.
        two_inputs: Write Segmentoly's model, see `segmentoly.build_ir`.

    Returns:
        An ExportResult.

    Raises:
        WeightsError: The checkpoint cannot be read or is incomplete.
        ExportError: The network is not supported, the gate found a difference, or the folder cannot be written.
    """
    model = network or load_network(weights, config=config, trust=trust)
    return write_ir(model, output_dir, origin=origin_of(weights, "FP16" if fp16 else "FP32"), template=template, fp16=fp16,
                    channel_order=channel_order, samples=spread(samples, parity_images), tolerance=tolerance, judge=judge,
                    two_inputs=two_inputs)


def write_ir(model, output_dir, *, origin, template="", fp16=False, channel_order="BGR", samples=(), tolerance=None,
             judge=None, two_inputs=False):
    """Export a network in memory; see `export_ir`."""
    info, contract = describe(model, origin, template, channel_order), family_of(model, two_inputs).CONTRACT
    with beside(output_dir) as folder:  # first: a folder that cannot be written must not cost a minute
        graph = build_ir(model, channel_order, two_inputs)
        set_rt_info(graph, rt_info(info, thresholds_of(model).iou, contract.model_type))
        ov.save_model(graph, folder / "model.xml", compress_to_fp16=fp16)
        written, info = read_ir(folder / "model.xml")
        tolerance = tolerance or (parity.FP16_TOLERANCE if fp16 else parity.Tolerance())
        found = parity.compare(model, written, samples, channel_order, tolerance, two_inputs)
        found.check(tolerance)
        del written  # it holds model.bin open
        if judge:
            update_info(graph, **judge(folder / "model.xml"))
            ov.save_model(graph, folder / "model.xml", compress_to_fp16=fp16)
            _, info = read_ir(folder / "model.xml")
        write_labels(folder, info.classes)
        golden = write_golden(folder / "model.xml", [as_sent(image, channel_order) for name, image, *_ in
                                                     images(resize_of(model), spread(samples, 3)) if name != "black"])
        replace_files(folder, Path(output_dir))
    xml = Path(output_dir) / "model.xml"
    size = sum(file.stat().st_size for file in (xml, xml.with_suffix(".bin")))
    return ExportResult(xml, info, found, contract, size / 1e6, golden)


def write_onnx(model, output, *, origin, template="", channel_order="BGR", samples=(), facts=None):
    """Export a network in memory as ONNX of standard operators.

    Args:
        model: mmdet detector in eval mode with `input_size`.
        output: The .onnx file; label files are written beside it.
        origin, template, channel_order, samples: As of `export_ir`.
        facts: What else the model shall say about itself, as fields of IrInfo.

    Returns:
        An ExportResult.

    Raises:
        ExportError: As of `export_ir`.
        MissingExtraError: The packages for ONNX are not installed.
    """
    from instance_segmentation.ir.onnx_graph import build_onnx, set_metadata
    from instance_segmentation.ir.onnx_session import read_onnx
    info, output = replace(describe(model, origin, template, channel_order), **(facts or {})), Path(output)
    contract = family_of(model).CONTRACT
    with beside(output.parent) as folder:
        proto = build_onnx(model, channel_order)
        set_metadata(proto, rt_info(info, thresholds_of(model).iou, contract.model_type))
        (folder / output.name).write_bytes(proto.SerializeToString())
        _, info = read_onnx(folder / output.name)
        found = parity.compare(model, folder / output.name, samples, channel_order)
        found.check()
        write_labels(folder, info.classes)
        replace_files(folder, output.parent, (output.name,))
    return ExportResult(output, info, found, contract, output.stat().st_size / 1e6)


def describe(model, origin, template, channel_order):
    """The IrInfo of a network."""
    thresholds = thresholds_of(model)
    return IrInfo(classes=tuple(model.dataset_meta["classes"]), input_size=tuple(model.input_size), template=template,
                  confidence_threshold=thresholds.score, score_threshold=thresholds.score, channel_order=channel_order,
                  mask_threshold=thresholds.mask, resize_type=model.resize_type, pad_value=model.pad_value,
                  size_mp=size_mp(model), complexity_gflops=complexity_gflops(model, model.input_size), origin=origin)


def origin_of(weights, precision="FP32"):
    """What the exported file says about where it comes from."""
    record = file_record(weights)
    return dict(tool="instance_segmentation", version=__version__, checkpoint=record["name"], sha256=record["sha256"],
                precision=precision)


def spread(items, count):
    """`count` of the items, evenly spaced; all of them when there are fewer."""
    items = list(items)
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else items


def write_labels(folder, classes):
    """labels.txt for the Open Model Zoo demo, which counts from a background line, and labels_nobg.txt without it."""
    (folder / "labels.txt").write_text("\n".join(["background", *classes]) + "\n", encoding="utf-8")
    (folder / "labels_nobg.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")


class beside:
    """A temporary folder on the same file system as `output_dir`, which `flag` names; removed at the end."""

    def __init__(self, output_dir, flag="--save-model-to"):
        self.output, self.flag = Path(output_dir), flag

    def __enter__(self):
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=".export-", dir=self.output))
        except OSError as error:
            raise ExportError(f"{self.flag} {self.output}: cannot be written: {error.strerror}") from error
        return self.folder

    def __exit__(self, *error):
        shutil.rmtree(self.folder, ignore_errors=True)


def replace_files(folder, output, model=("model.bin", "model.xml")):
    """Move the finished files to their place; the .xml goes last, so it never names weights that are not there yet.

    Golden samples of a model that was there before go: the new one would be tested by them.
    """
    golden = [name for name in GOLDEN if (folder / name).is_file()]
    if "model.xml" in model:
        for name in set(GOLDEN).difference(golden):
            (output / name).unlink(missing_ok=True)
    for name in ("labels.txt", "labels_nobg.txt", *golden, *model):
        (output / name).parent.mkdir(exist_ok=True)
        os.replace(folder / name, output / name)
