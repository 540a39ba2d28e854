"""Choose how to run an exported model on this machine: measure accuracy and time of many settings, recommend one, write it."""

import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from instance_segmentation.coco import read_annotations
from instance_segmentation.deployment import tradeoff
from instance_segmentation.errors import ExportError, WeightsError
from instance_segmentation.evaluation import detect
from instance_segmentation.report import file_record, progress, say, table, write_metrics_json
from instance_segmentation.templates.workdir import open_workdir

PROPOSALS, SCORES = (1000, 500, 300, 200, 100, 50), (0.1, 0.2, 0.3)  # tried besides the export's own, where they are less work
GROUP = 8  # networks compiled at a time; each takes memory


@dataclass(frozen=True)
class Plan:
    """What was found.

    Attributes:
        points: The timed `tradeoff.Point`s, the export as it is first.
        recommended: One of them.
        runtime: OpenVINO's properties for it, as of `IrInfo.runtime`.
    """

    points: tuple
    recommended: tradeoff.Point
    runtime: dict


def plan(work_dir, *, load_weights, val_ann_files, val_data_roots, int8=None, proposals=None, score_thresholds=None, images=50,
         max_drop=0.005, runs=15, save_plan_to=None, apply=None):
    """Print a table of segm AP against milliseconds, recommend a point of it, and write that as an IR if asked.

    Args:
        work_dir: Folder made by `instantiate`.
        load_weights: The .xml of an export.
        val_ann_files, val_data_roots: Images that accuracy and time are measured on.
        int8: The .xml of its INT8 counterpart, to be compared too.
        proposals, score_thresholds: Values to try besides the export's own; those that would be more work are left out.
        images: How many of the validation images to use, evenly spaced.
        max_drop: Segm AP in [0, 1] that the recommended point may lose beside the best one.
        runs: How often each point is timed.
        save_plan_to: Folder of plan.json and plan.png; `plan` in the work dir by default.
        apply: Folder to write the recommended point into as an IR, with its settings in the rt_info.

    Returns:
        A Plan.

    Raises:
        WeightsError: A file is no IR, or `int8` belongs to another network.
        ExportError: A graph is not this package's, the images show no object, or `apply` cannot be written.
    """
    work, files = open_workdir(work_dir), [Path(file).with_suffix(".xml") for file in (load_weights, int8) if file]
    if apply and Path(apply).resolve() in [file.resolve().parent for file in files]:
        raise ExportError(f"--apply {apply}: holds the model that is planned; choose another folder")
    from instance_segmentation.engine import register
    register("Planning")
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        sweep = _Sweep(work, files, Path(folder))
        sweep.read_images(val_ann_files, val_data_roots, images)
        points = sweep.score(proposals or PROPOSALS, score_thresholds or SCORES)
        timed = sweep.time([points[0], *(point for point in tradeoff.worth_timing(points) if point != points[0])], runs)
        recommended = tradeoff.recommend(timed, max_drop)
        tradeoff.tell(timed, recommended)
        if left_out := len(points) - len(timed):
            say("", f"{left_out} of {len(points)} points were not timed: with fewer proposals or a higher threshold the same "
                "precision finds as much")
        result = Plan(tuple(timed), recommended, sweep.runtime(recommended, runs))
        sweep.save(result, Path(save_plan_to or work.path / "plan"), max_drop)
        if apply:
            sweep.write(result, Path(apply))
    return result


class _Sweep:
    """The exported models, the images to judge them by, and a folder for what lies in between."""

    def __init__(self, work, files, folder):
        from instance_segmentation.engine.config import read_config
        from instance_segmentation.ir.core import core
        from instance_segmentation.ir.info import read_ir
        from instance_segmentation.ir.limits import read_limits
        self.files, self.folder, self.cfg = files, folder, read_config(work.config)
        model, self.info = read_ir(files[0])
        if len(model.inputs) > 1:
            raise ExportError(f"--load-weights {files[0]}: has Segmentoly's two inputs; give an export without --segmentoly")
        self.limits, weights = read_limits(model), (self.info.origin or {}).get("precision", "FP32")
        self.ways = {weights: (files[0], "f32")}  # title → the IR, and OpenVINO's precision hint
        if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            self.ways[f"{weights}, BF16 hint"] = files[0], "bf16"
        for file in files[1:]:
            model, info = read_ir(file)
            if (info.classes, info.input_size, read_limits(model)) != (self.info.classes, self.info.input_size, self.limits):
                raise WeightsError(f"--int8 {file}: has other classes, another input size or other limits than {files[0]}; make "
                                   "it from the same checkpoint with compress.py")
            self.ways["INT8"] = file, "f32"

    def read_images(self, ann_files, data_roots, count):
        """Choose validation images."""
        from instance_segmentation.ir.calibration import read_input
        from instance_segmentation.ir.export import spread
        every = read_annotations(ann_files, data_roots, classes=self.info.classes, all_classes=False)
        images = spread(every.images, count)
        ids = {image["id"] for image in images}
        self.val = replace(every, images=images, annotations=[item for item in every.annotations if item["image_id"] in ids])
        if not any(not item["iscrowd"] for item in self.val.annotations):
            raise ExportError("--val-ann-files: no image shows an object of the model's classes, so there is no accuracy "
                              "to weigh")
        say("Data", f"val {self.val.summary()}")
        self.truth = self.val.write(self.folder / "truth.json")
        self.inputs = [read_input(image["file_name"], self.info) for image in spread(images, 8)]

    def variant(self, precision, limits):
        """The ov.Model of a precision with these Limits, and without the settings of an earlier plan."""
        from instance_segmentation.ir.info import read_ir, update_info
        from instance_segmentation.ir.limits import set_limits
        model, info = read_ir(self.ways[precision][0])
        set_limits(model, limits)
        update_info(model, runtime=None, score_threshold=limits.score_threshold)
        if limits.proposals != self.limits.proposals:  # the box head's share of the operations is not known here
            update_info(model, complexity_gflops=math.nan, origin=dict(info.origin or {}, proposals=limits.proposals))
        return model

    def score(self, proposals, score_thresholds):
        """A Point per precision, number of proposals and score threshold, not timed; the first is the export as it is."""
        own = self.limits
        counts = [own.proposals, *sorted({count for count in proposals if count < own.proposals}, reverse=True)]
        scores = [own.score_threshold, *sorted({score for score in score_thresholds if score > own.score_threshold})]
        with progress("segm AP") as show:
            pairs, points = [(precision, count) for precision in self.ways for count in counts], []
            for done, pair in enumerate(pairs, 1):
                points += self._score(*pair, scores)
                show(done, len(pairs))
        return points

    def _score(self, precision, proposals, scores):
        """Points of one network: a higher threshold in the graph only drops detections, so one run serves all thresholds."""
        import openvino as ov

        from instance_segmentation.engine.metrics import coco_metrics
        from instance_segmentation.ir.detector import ExportedDetector
        xml = self.folder / f"{precision} {proposals}.xml"
        ov.save_model(self.variant(precision, self.limits._replace(proposals=proposals)), xml, compress_to_fp16=False)
        model = ExportedDetector(xml, options={"INFERENCE_PRECISION_HINT": self.ways[precision][1]})
        _, found = detect(model, self.cfg, self.val)
        for file in (xml, xml.with_suffix(".bin")):
            file.unlink()
        return [tradeoff.Point(precision, proposals, score, coco_metrics(
            self.truth, [item for item in found if item["score"] > score])["segm/AP"]) for score in scores]

    def time(self, points, runs):
        """The points with their times.

        The networks of a group take turns, and the first point is in every group. Times are in proportion to it within the own
        group, and its own are the median of all groups: so a slow spell of the machine cancels out.
        """
        import numpy as np

        from instance_segmentation.ir.speed import measure
        firsts, ratios = [], [(1.0, 1.0)]
        for start in range(1, max(len(points), 2), GROUP - 1):
            group = [points[0], *points[start:start + GROUP - 1]]
            timings = measure([self._contender(point) for point in group], runs)
            pairs = np.array([(timing.median, timing.images_per_second) for timing in timings])
            firsts.append(pairs[0])
            ratios += (pairs[1:] / pairs[0]).tolist()
        times = (np.median(firsts, 0) * ratios).tolist()
        return [replace(point, ms=ms, images_per_second=rate) for point, (ms, rate) in zip(points, times, strict=True)]

    def _contender(self, point, options=None):
        from instance_segmentation.ir.speed import openvino_contender
        return openvino_contender(point.precision, self._model(point), self.inputs, self.ways[point.precision][1],
                                  options=options)

    def _model(self, point):
        from instance_segmentation.ir.limits import Limits
        return self.variant(point.precision, Limits(point.proposals, point.score_threshold))

    def runtime(self, point, runs):
        """Time a point with several numbers of streams and threads; the best properties for one image and for many."""
        from instance_segmentation.ir.session import compile_ir
        from instance_segmentation.ir.speed import measure
        threads = compile_ir(self._model(point)).get_property("INFERENCE_NUM_THREADS")
        settings = [dict(NUM_STREAMS=streams, INFERENCE_NUM_THREADS=count) for streams, count in layouts(threads)]
        timings = measure([self._contender(point, options) for options in settings], runs)
        one = min((index for index, options in enumerate(settings) if options["NUM_STREAMS"] == 1),
                  key=lambda index: timings[index].median)
        many = max(range(len(settings)), key=lambda index: timings[index].images_per_second)
        table("The recommended point", ("streams", "threads", "ms/image", "images/s", ""),
              [(*options.values(), f"{timing.median:.1f}", f"{timing.images_per_second:.1f}",
                ", ".join(text for text, best in (("one image at a time", one), ("several", many)) if best == index))
               for index, (options, timing) in enumerate(zip(settings, timings, strict=True))])
        hint = {"INFERENCE_PRECISION_HINT": self.ways[point.precision][1]}
        return dict(LATENCY={**hint, **settings[one]}, THROUGHPUT={**hint, **settings[many]})

    def save(self, result, folder, max_drop):
        """Write plan.json and plan.png."""
        from instance_segmentation.ir.core import core
        from instance_segmentation.plots import accuracy_against_time
        unbeaten = tradeoff.pareto(result.points)
        write_metrics_json(folder / "plan.json", dict(
            models=[file_record(file) for file in self.files], device=core().get_property("CPU", "FULL_DEVICE_NAME"),
            images=len(self.val.images), max_drop=max_drop, runtime=result.runtime,
            points=[dict(asdict(point), pareto=point in unbeaten, recommended=point == result.recommended)
                    for point in result.points]))
        accuracy_against_time(folder / "plan.json", folder / "plan.png")
        say("Plan", f"{folder / 'plan.json'} and plan.png")

    def write(self, result, output):
        """Write the recommended point as an IR that says how it runs best."""
        import openvino as ov

        from instance_segmentation.ir.export import beside, replace_files, write_labels
        from instance_segmentation.ir.golden import write_golden
        from instance_segmentation.ir.info import update_info
        model = self._model(result.recommended)
        update_info(model, runtime=result.runtime)
        with beside(output, "--apply") as folder:
            ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
            write_labels(folder, self.info.classes)
            write_golden(folder / "model.xml", self.inputs[:3])
            replace_files(folder, output)
        say("Written", f"{output / 'model.xml'}, with model.bin and labels.txt beside it; this tool runs it with these settings")


def layouts(threads):
    """Pairs of streams and threads to try, up to `threads`."""
    counts = {threads, max(threads // 2, 1)}
    return sorted({(streams, count) for count in counts for streams in (1, max(count // 2, 1), count)})
