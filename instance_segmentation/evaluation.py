"""Score a checkpoint, an IR or an ONNX model on annotated images: one loop, one metric, one mask paste for all."""

import statistics
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from instance_segmentation.coco import read_annotations, tiled
from instance_segmentation.early_checks import check_annotation_files, check_weights_file
from instance_segmentation.errors import TemplateError, WeightsError
from instance_segmentation.records.html_report import Scored, check_report, write_report
from instance_segmentation.records.provenance import data_records
from instance_segmentation.report import (
    class_table,
    file_record,
    metric_records,
    number,
    progress,
    say,
    say_data,
    table,
    write_metrics_json,
    write_metrics_yaml,
)
from instance_segmentation.templates.catalogue import find_template
from instance_segmentation.templates.workdir import open_workdir

EXPORTED = (".xml", ".bin", ".onnx")
LOWEST_SCORE = 0.05  # the templates' score_thr
ANY_TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"  # resizing apart, they all read images in the same way


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics in [0, 1] (NaN: no ground truth), the median latency of one image, and the network's facts.

    The latency is that of an image which is alone in the model, from the resized image to its masks; an IR takes several at a
    time after the first few, and finishes more images per second than the latency says.
    """

    metrics: dict
    classes: tuple
    ms_per_image: float
    size_mp: float
    complexity_gflops: float

    def tell(self):
        """Print COCO's six APs of boxes and masks, and the time per image."""
        names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
        rows = [(kind, *(number(self.metrics[f"{kind}/{name}"]) for name in names)) for kind in ("bbox", "segm")]
        table("", ("", *names), rows)
        say("Inference", f"{self.ms_per_image:.1f} ms per image, {1000 / self.ms_per_image:.2f} images/s")


def evaluate(work_dir, *, load_weights, test_ann_files, test_data_roots, save_metrics_to=None, classes=None,
             save_output_to=None, save_results_to=None, num_workers=None, trust_checkpoint=False, config=None, tile=None,
             overlap=0.25, max_dets=100, report=None, **loading):
    """Compute COCO metrics of a checkpoint or an IR on annotated images.

    Args:
        work_dir: Folder made by `instantiate`; None where `loading` says how images get into the network.
        load_weights: .pth, .onnx, .xml, or .bin (its .xml lies beside it). Classes and input size come from it.
        test_ann_files, test_data_roots: Lists of COCO files and image folders.
        save_metrics_to: metrics.yaml to write or merge into; metrics.json is written beside it, unrounded.
        classes: Must equal the weights' classes when given.
        save_output_to: Folder for images with drawn predictions: an exported model's from its own score for each class, where
            it has one, all others' from 0.3.
        save_results_to: File for the predictions as COCO results JSON, with the ids of the user's file.
        num_workers: Data loading processes.
        trust_checkpoint: Unpickle arbitrary objects of the checkpoint.
        config: Another model.py than the work dir's.
        tile, overlap: Detect in tiles of this many pixels that overlap by this share, and merge what they show; None: in whole
            images.
        max_dets: Detections per image and class that count. A checkpoint then gives that many at most, too; an exported model
            gives what it was exported with.
        report: .html file to write with curves, confusion matrix, best and worst images and more.
        loading: `fit_max`, `fit_window`, `size`, `mean_pixel` and so on, as of `inference.exported.LoadOptions.of_flags`: images
            are resized as the demo does it, and models of other tools can be evaluated too. The template's way without them.

    Returns:
        An EvaluationResult.
    """
    if tile and save_output_to:
        raise TemplateError("--save-output-to draws whole images only; leave it out with --tile, or use instseg demo --tile")
    weights = check_weights_file(load_weights)
    check_annotation_files(test_ann_files, test_data_roots)
    if report:
        check_report(report)
    config = config or (open_workdir(work_dir).config if work_dir else _packaged_config())
    loading = {name: value for name, value in loading.items() if value}
    load = partial(load_resizing, loading) if loading else load_for_test
    say("Loading", str(weights))
    model, complexity = load(weights, config, trust_checkpoint)
    allow_detections(model, max_dets)
    names = tuple(model.dataset_meta["classes"])
    check_classes(classes, names, weights)
    with progress("checking images") as checked:
        annotations = read_annotations(test_ann_files, test_data_roots, classes=names, all_classes=False, progress=checked)
    tiles, evaluations = tiled(annotations, tile, overlap) if tile else None, []
    say_data(test=annotations)
    if tiles:
        say("Tiles", f"{len(tiles.images)} of {tile} px, {overlap:.0%} overlap")
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.engine.evaluation import run_test
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        metrics, seconds, detections = run_test(model, read_config(config), annotations, Path(folder), num_workers,
                                                save_output_to, tiles, max_dets, evaluations.append if report else None)
    per_image = len(tiles.images) / len(annotations.images) if tiles else 1
    result = EvaluationResult(metrics, names, 1000 * per_image * statistics.median(seconds), *complexity)
    _write_evaluation(result, weights, annotations, detections, save_metrics_to, save_results_to)
    if report:
        files = [*map(file_record, _files(weights)), *data_records(test_ann_files, test_data_roots)]
        write_report(report, result, Scored.of(names, *evaluations), seconds, weights, files)
    # printed last: what cannot be printed, or a closed pipe, costs no file
    class_table(metrics, names, _objects_per_class(annotations), max_dets)
    _tell_written(save_results_to, save_metrics_to, report, save_output_to)
    return result


def _tell_written(results, metrics, report, pictures):
    """Say which files were written; None for those that were not asked for."""
    if results:
        say("Results", str(results))
    if metrics:
        say("Metrics", f"{metrics}, unrounded in {Path(metrics).with_suffix('.json').name}")
    if report:
        say("Report", str(report))
    if pictures:
        say("Pictures", str(pictures))


def _files(weights):
    """Everything that a model's file needs beside it, itself included."""
    from instance_segmentation.ir.info import ir_files
    return ir_files(weights) if weights.suffix in (".xml", ".bin") else (weights,)


def _packaged_config():
    template = find_template(ANY_TEMPLATE)
    return template.path / template.config


def allow_detections(model, number):
    """Let a checkpoint's network give at least that many detections per image; an exported graph cannot be told."""
    if head := getattr(model, "roi_head", getattr(model, "bbox_head", None)):
        head.test_cfg.max_per_img = max(head.test_cfg.max_per_img, number)


def detect(model, cfg, annotations):
    """Run a model on annotated images, without a word.

    Args:
        model: As of `load_for_test`.
        cfg: The work dir's Config.
        annotations: `coco.Annotations` in the model's class order.

    Returns:
        Metrics and detections, as of `run_test`.
    """
    from instance_segmentation.engine.evaluation import run_test
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        metrics, _, detections = run_test(model, cfg, annotations, Path(folder), 0)
    return metrics, detections


def _write_evaluation(result, weights, annotations, detections, save_metrics_to, save_results_to):
    if save_results_to:
        write_metrics_json(save_results_to, with_source_ids(detections, annotations))
    if not save_metrics_to:
        return
    files = [file_record(weights)]
    write_metrics_yaml(save_metrics_to, files, metric_records(result.metrics, result.size_mp, result.complexity_gflops))
    write_metrics_json(Path(save_metrics_to).with_suffix(".json"),
                       dict(files=files, metrics=result.metrics, classes=result.classes, images=len(annotations.images),
                            ms_per_image=result.ms_per_image, size_mp=result.size_mp,
                            complexity_gflops=result.complexity_gflops))


def check_classes(wanted, names, weights):
    """Refuse a `--classes` that is not the weights' own list, in its order."""
    if wanted and tuple(wanted) != tuple(names):
        raise WeightsError(f"--classes differs from the classes in {weights.name}.\n  --classes: {', '.join(wanted)}\n"
                           f"  weights:   {', '.join(names)}\nLeave --classes out: the weights know theirs.")


def _objects_per_class(annotations):
    objects = Counter(item["category_id"] for item in annotations.annotations if not item["iscrowd"])
    return {name: objects[index] for index, name in enumerate(annotations.classes, 1)}


def with_source_ids(detections, annotations):
    """COCO results with image and category ids of the user's own file instead of the normalised ones."""
    images = {image["id"]: image["source_id"] for image in annotations.images}
    theirs = annotations.source_category_ids or {}  # None when several files number their classes differently
    numbers = {index: theirs.get(name, index) for index, name in enumerate(annotations.classes, 1)}
    return [dict(item, image_id=images[item["image_id"]], category_id=numbers[item["category_id"]]) for item in detections]


def load_for_test(weights, config, trust):
    """Load any kind of weights as `load_any` does.

    Returns:
        The model, and the size in Mp and complexity in GFLOPs.
    """
    model = load_any(weights, config, trust)
    if weights.suffix in EXPORTED:
        return model, (model.size_mp, model.complexity_gflops)
    from instance_segmentation.engine.complexity import complexity_gflops, size_mp
    return model, (size_mp(model), complexity_gflops(model, model.input_size))


def load_any(weights, config=None, trust=False):
    """Load any kind of weights as a model for mmengine's test loop, with `dataset_meta["classes"]` and `input_size`."""
    from instance_segmentation.engine import register
    register("Evaluating")
    if weights.suffix in EXPORTED:
        from instance_segmentation.ir.detector import ExportedDetector
        return ExportedDetector(weights)
    from instance_segmentation.engine.network import load_network
    return load_network(weights, config=config, trust=trust)


def load_resizing(loading, weights, config, trust):
    """As `load_for_test`, with images resized as `loading` says, and any model that the demo can run."""
    from instance_segmentation.engine import register
    register("Evaluating")
    from instance_segmentation.engine.tested_detector import TestedDetector
    from instance_segmentation.inference.exported import LoadOptions, load_exported
    from instance_segmentation.inference.model import detector_of
    options = LoadOptions.of_flags(prob_threshold=LOWEST_SCORE, **loading)
    if weights.suffix in EXPORTED:
        detector = load_exported(weights, options)
        facts = detector.info.size_mp, detector.info.complexity_gflops
    else:
        network, facts = load_for_test(weights, config, trust)
        detector = detector_of(network, options, weights)
    return TestedDetector(detector), facts
