"""Quantise a network to INT8, hold its accuracy, and show FP32, FP16 and INT8 side by side."""

import math
from dataclasses import dataclass
from pathlib import Path

from instance_segmentation.coco import read_annotations
from instance_segmentation.deployment.exporting import find_thresholds
from instance_segmentation.early_checks import CHECKPOINTS, check_annotation_files, check_weights_file
from instance_segmentation.errors import ExportError, TemplateError
from instance_segmentation.evaluation import detect
from instance_segmentation.report import number, say, table
from instance_segmentation.templates.workdir import open_workdir


@dataclass(frozen=True)
class Variant:
    """One row of the table: segm AP in [0, 1] and an `ir.speed.Timing`."""

    segm_ap: float
    timing: object


@dataclass(frozen=True)
class CompressResult:
    """What was written.

    Attributes:
        path: The INT8 model's .xml.
        variants: FP32, FP16 and INT8.
        calibration_images: How many images the ranges come from.
        reverted: Title of each part that stayed in float32 to hold the accuracy → names of its layers.
    """

    path: Path
    variants: tuple
    calibration_images: int
    reverted: dict


def compress(work_dir, *, load_weights, save_model_to, train_ann_files, train_data_roots, val_ann_files, val_data_roots,
             max_drop=None, calibration_images=None, trust_checkpoint=False):
    """Write an INT8 model.xml and model.bin that lose at most `max_drop` segm AP.

    Args:
        work_dir: Folder made by `instantiate`.
        load_weights: A .pth checkpoint, or the .xml of an FP32 export.
        save_model_to: Folder of the INT8 model.
        train_ann_files, train_data_roots: Images the INT8 ranges are measured on.
        val_ann_files, val_data_roots: Images the accuracy is measured on.
        max_drop: Largest loss of segm AP, in [0, 1]; the template's by default.
        calibration_images: How many of the training images to use; the template's number by default.
        trust_checkpoint: Unpickle arbitrary objects of the checkpoint.

    Returns:
        A CompressResult.

    Raises:
        TemplateError: The template offers no quantisation.
        WeightsError, DatasetError: A file is not there.
        ExportError: The images do not fit, the accuracy cannot be held, or the folder is the FP32 model's; nothing was written.
    """
    work = open_workdir(work_dir)
    offered = work.template.optimisations
    if not offered:
        raise TemplateError(f"template {work.template.name} offers no compression (`optimisations: null` in template.yaml)")
    weights = check_weights_file(load_weights, (*CHECKPOINTS, ".xml", ".bin"))
    _check_folder(weights, Path(save_model_to))
    check_annotation_files(train_ann_files, train_data_roots)
    check_annotation_files(val_ann_files, val_data_roots)
    max_drop = offered.nncf_quantization.max_drop if max_drop is None else max_drop
    count = calibration_images or offered.nncf_quantization.calibration_images
    say("Loading", weights)
    from instance_segmentation.engine import register
    register("Quantising")
    from instance_segmentation.ir.export import beside, replace_files
    from instance_segmentation.ir.quantize import import_nncf
    import_nncf()  # before anything that takes long
    with beside(save_model_to) as folder:
        trial = _Trial(work, weights, folder, val_ann_files, val_data_roots, trust_checkpoint)
        files = trial.calibration(train_ann_files, train_data_roots, count)
        reverted, ap = trial.hold_accuracy(files, max_drop)
        variants = trial.variants(ap, files[:8])
        trial.write_thresholds()
        trial.write_neighbours(files)
        replace_files(folder, Path(save_model_to))
    result = CompressResult(Path(save_model_to) / "model.xml", variants, len(files), reverted)
    _tell(result)
    return result


def _check_folder(weights, folder):
    """Refuse to put the INT8 model.xml where the FP32 model lies that it is made from.

    Raises:
        ExportError: It lies there.
    """
    if weights.suffix not in CHECKPOINTS and weights.resolve().parent == folder.resolve():
        raise ExportError(f"--save-model-to {folder}: is the folder of --load-weights {weights}, whose files the INT8 model's "
                          "would replace; give another folder")


class _Trial:
    """The FP32 model, the images to judge by, and a folder whose model.xml is the latest INT8 attempt."""

    def __init__(self, work, weights, folder, ann_files, data_roots, trust):
        from instance_segmentation.engine.config import read_config
        from instance_segmentation.ir import quantize
        from instance_segmentation.ir.info import read_ir
        self.folder, self.cfg, self.quantize = folder, read_config(work.config), quantize
        self.fp32 = weights.with_suffix(".xml")
        if weights.suffix == ".pth":
            self.fp32 = _export(weights, folder / "fp32", work, trust)
        self.model, self.info = read_ir(self.fp32)
        quantize.check_quantizable(self.model, self.info, self.fp32)
        self.val = read_annotations(ann_files, data_roots, classes=self.info.classes, all_classes=False)
        self.fp32_ap = self.segm_ap(self.fp32)
        if math.isnan(self.fp32_ap):
            raise ExportError("--val-ann-files: no image shows an object of the model's classes, so there is no accuracy to hold")
        say("FP32", f"segm AP {number(self.fp32_ap, 4)} on {len(self.val.images)} validation images")

    def calibration(self, ann_files, data_roots, count):
        """Choose calibration images among the training images; returns their paths."""
        from instance_segmentation.ir.calibration import pick
        from instance_segmentation.ir.export import spread
        train = read_annotations(ann_files, data_roots, classes=self.info.classes, all_classes=False)
        files = [image["file_name"] for image in train.images]
        evenly = spread(files, count)
        taken = set(evenly)
        files = pick(self.model, self.info, evenly + [file for file in files if file not in taken], count)
        say("Calibration", f"{len(files)} of {len(train.images)} training images; every class is detected on them")
        return files

    def segm_ap(self, xml):
        """Segm AP of an IR on the validation images, NaN without ground truth."""
        from instance_segmentation.ir.detector import ExportedDetector
        return detect(ExportedDetector(xml), self.cfg, self.val)[0]["segm/AP"]

    def hold_accuracy(self, files, max_drop):
        """Quantise, and return parts to float32, the most harmful first, until the accuracy holds.

        NNCF's own accuracy control ranks every single quantiser, which takes some 150 validations; by parts a dozen do.

        Returns:
            Part → names of its layers for the parts in float32, and the segm AP of what is now the folder's model.xml.
        """
        always = self.quantize.coordinate_names(self.model)
        parts = self.quantize.parts(self.model, always)
        if self.fp32_ap <= max_drop:
            say("Warning", f"the FP32 model reaches segm AP {number(self.fp32_ap, 4)}, no more than the --max-drop {max_drop:g} "
                "that INT8 may lose: any INT8 passes, also one that finds nothing. Train longer, or give other --val-ann-files")
        reverted, ap = [], self._attempt(files, always, [], parts)
        if self.fp32_ap - ap > max_drop:
            say("", f"Above --max-drop {max_drop:g}: looking for the parts to blame, one at a time in float32")
            gain = {title: self._attempt(files, always, [title], parts) for title in parts}
            ranked = sorted(parts, key=gain.get, reverse=True)
            while self.fp32_ap - ap > max_drop and len(reverted) < len(parts) - 1:
                reverted.append(ranked[len(reverted)])
                ap = self._attempt(files, always, reverted, parts)
        if self.fp32_ap - ap > max_drop:
            raise ExportError(f"--max-drop {max_drop:g}: INT8 loses {self.fp32_ap - ap:.4f} segm AP even with {len(reverted)} of "
                              f"{len(parts)} parts in float32 ({', '.join(reverted)}). Nothing was written. Give more or other "
                              "--train-ann-files for calibration, more --val-ann-files, a larger --max-drop, or use "
                              "export.py --fp16")
        return {title: self.quantize.layer_names(self.model, parts[title]) for title in reverted}, ap

    def _attempt(self, files, always, reverted, parts):
        """Write model.xml with `reverted` parts in float32; returns its segm AP."""
        names = always.union(*(parts[title] for title in reverted))
        model = self.quantize.quantize(self.model, self.info, files, names)
        self.quantize.save(model, self.folder / "model.xml", len(files), reverted)
        self.int8 = model
        ap = self.segm_ap(self.folder / "model.xml")
        say("INT8", f"segm AP {number(ap, 4)}, ΔAP {ap - self.fp32_ap:+.4f}" +
            (f", in float32: {', '.join(reverted)}" if reverted else ""))
        return ap

    def variants(self, int8_ap, files):
        """Measure FP32, FP16 and the INT8 model in the folder."""
        import openvino as ov

        from instance_segmentation.ir.calibration import read_input
        from instance_segmentation.ir.core import core
        from instance_segmentation.ir.speed import measure, openvino_contender, runs_within
        fp16 = self.folder / "fp16.xml"
        ov.save_model(self.model, fp16, compress_to_fp16=True)
        files_of = {"FP32": self.fp32, "FP16": fp16, "INT8": self.folder / "model.xml"}
        aps = {"FP32": self.fp32_ap, "FP16": self.segm_ap(fp16), "INT8": int8_ap}
        images = [read_input(file, self.info) for file in files]
        contenders = [openvino_contender(title, core().read_model(xml), images, size_mb=_megabytes(xml))
                      for title, xml in files_of.items()]
        timings = measure(contenders, runs_within(6, contenders[0]))  # of each some 80 inferences when it is fast
        return tuple(Variant(aps[timing.name], timing) for timing in timings)

    def write_thresholds(self):
        """Store the INT8 model's own score thresholds in the folder's model.xml: its scores differ a little from FP32's."""
        import openvino as ov

        from instance_segmentation.ir.info import update_info
        update_info(self.int8, **find_thresholds(self.cfg, self.val, self.folder / "model.xml"))
        ov.save_model(self.int8, self.folder / "model.xml", compress_to_fp16=False)

    def write_neighbours(self, files):
        """Write what lies beside an export's model.xml: the label files, and golden samples from some of `files`."""
        from instance_segmentation.ir.calibration import read_input
        from instance_segmentation.ir.export import spread, write_labels
        from instance_segmentation.ir.golden import write_golden
        write_labels(self.folder, self.info.classes)
        write_golden(self.folder / "model.xml", [read_input(file, self.info) for file in spread(files, 3)])


def _export(weights, folder, work, trust):
    """Export a checkpoint as FP32, with the parity gate on noise; returns the .xml."""
    from instance_segmentation.ir.export import export_ir
    return export_ir(weights, folder, config=work.config, template=work.template.name, trust=trust).path


def _megabytes(xml):
    return sum(file.stat().st_size for file in (xml, xml.with_suffix(".bin"))) / 1e6


def _tell(result):
    """Print the table, what stayed in float32, and where the model is."""
    first = result.variants[0]
    table("", ("", "segm AP", "ΔAP", "ms/image", "faster", "images/s", "MB"),
          [(row.timing.name, number(row.segm_ap, 4), f"{row.segm_ap - first.segm_ap:+.4f}", f"{row.timing.median:.1f}",
            f"{first.timing.median / row.timing.median:.2f}x", f"{row.timing.images_per_second:.1f}",
            f"{row.timing.size_mb:.1f}") for row in result.variants])
    for title, layers in result.reverted.items():
        say("In float32", f"{title}, {len(layers)} layers: {', '.join(layers)}")
    say("Written", f"{result.path}, with model.bin and labels.txt beside it")
