"""Images per second of eval.py on an IR beside the same IR fed with prepared tensors by OpenVINO's own queue.

    python benchmarks/evaluation.py --annotations instances_val2017.json --images val2017     # random weights, both templates
    python benchmarks/evaluation.py --annotations val.json --images val --load-weights export/model.xml

Both take turns, round by round, in one process and with the same properties (THROUGHPUT, float32). The evaluation counts
from the annotations in memory to the last image in the metric: starting the loader's processes, decoding, resizing,
inference, masks. Scoring comes on top; it depends on the number of detections. The queue gets float32 images that are in
memory already, and its outputs are not looked at. Random weights find 100 objects in every image, the most there can be;
the second line per template is the same network with a score threshold that leaves a few. CPU seconds (of all processes)
say the same on a machine where other jobs run.
"""

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
TEMPLATES = REPO / "model_templates" / "custom-instance-segmentation"


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="a COCO file, for example val2017's")
    parser.add_argument("--images", type=Path, required=True, help="the folder of its images")
    parser.add_argument("--load-weights", type=Path, help="an IR with classes of that file; random weights without it")
    parser.add_argument("--template", choices=["480x480", "576x576"], help="only this one of the two")
    parser.add_argument("--limit", type=int, default=100, help="number of images")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def networks(args, folder):
    """Yield (title, .xml, template)."""
    from instance_segmentation.engine import register
    register("The benchmark")
    if args.load_weights:
        yield args.load_weights.name, args.load_weights, args.template or "480x480"
        return
    import json

    from instance_segmentation.ir.export import write_ir
    from tests.component.speaking import speaking_network
    names = [category["name"] for category in json.loads(args.annotations.read_text())["categories"]]
    for template in [args.template] if args.template else ["480x480", "576x576"]:
        for threshold in (0.05, 0.4):
            size = tuple(map(int, template.split("x")))
            model = speaking_network(names, size, template, model__test_cfg__rcnn__score_thr=threshold)
            target = folder / f"{template}-{threshold}"
            target.mkdir()
            write_ir(model, target, origin={})
            yield f"{template}, random weights, scores ≥ {threshold}", target / "model.xml", template


def main():
    """Measure and print a line per network."""
    args = parse()
    print(f"{'':40} objects  {'eval':>6} {'queue':>6} img/s  {'ratio':>6} {'scored':>7} {'CPU':>6}")
    with tempfile.TemporaryDirectory(prefix="instseg_evaluation_") as folder:
        for title, xml, template in networks(args, Path(folder)):
            print(f"{title:40} {measure(xml, template, args)}", flush=True)


def measure(xml, template, args):
    """Take turns; the medians over the rounds, ratios being those of neighbours."""
    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.ir.detector import ExportedDetector
    model = ExportedDetector(xml)
    cfg = read_config(TEMPLATES / f"efficientnet_b2b-mask_rcnn-{template}" / "model.py")
    annotations = read_annotations([args.annotations], [args.images], classes=model.info.classes, all_classes=False)
    images = annotations.images[:args.limit]
    kept = {image["id"] for image in images}
    annotations = replace(annotations, images=images,
                          annotations=[item for item in annotations.annotations if item["image_id"] in kept])
    tensors = [prepared(image["file_name"], model.input_size) for image in annotations.images]
    number, rows = len(tensors), []
    for _ in range(args.rounds):
        evaluation_s, scoring_s, cpu_s, objects = evaluate(model, cfg, annotations)
        queue_s, queue_cpu_s = feed_queue(model.compiled_for_throughput, tensors)
        rows.append([objects / number, number / evaluation_s, number / queue_s, queue_s / evaluation_s,
                     queue_s / (evaluation_s + scoring_s), queue_cpu_s / cpu_s])
    middle = [median(column) for column in zip(*rows, strict=True)]
    spread = f"{min(row[3] for row in rows):.2f} to {max(row[3] for row in rows):.2f}"
    return "{:7.1f}  {:6.2f} {:6.2f}        {:6.2f} {:7.2f} {:6.2f}".format(*middle) + f"   ({spread})"


def prepared(file, size_hw):
    """The image [1, 3, H, W] float32 BGR as the graph takes it."""
    image = cv2.resize(cv2.imread(str(file)), size_hw[::-1])
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def evaluate(model, cfg, annotations):
    """Seconds of eval.py's loop, of its scoring, CPU seconds of the loop, number of detections."""
    from instance_segmentation.engine import metrics
    from instance_segmentation.engine.evaluation import run_test
    score, scored = metrics.coco_metrics, []

    def timed(*arguments):
        began, cpu = time.perf_counter(), cpu_seconds()
        result = score(*arguments)
        scored.append((time.perf_counter() - began, cpu_seconds() - cpu))
        return result

    model.__dict__.pop("test_step", None)  # the timer of the round before
    metrics.coco_metrics = timed
    try:
        began, cpu = time.perf_counter(), cpu_seconds()
        with tempfile.TemporaryDirectory() as folder:
            _, _, found = run_test(model, cfg, annotations, Path(folder))
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    finally:
        metrics.coco_metrics = score
    return seconds - scored[0][0], scored[0][0], cpu - scored[0][1], len(found)


def feed_queue(compiled, tensors):
    """Wall and CPU seconds of ov.AsyncInferQueue with as many requests as OpenVINO finds best."""
    import openvino as ov
    queue = ov.AsyncInferQueue(compiled)
    queue.set_callback(lambda request, item: None)
    began, cpu = time.perf_counter(), cpu_seconds()
    for tensor in tensors:
        queue.start_async(tensor, share_inputs=True)
    queue.wait_all()
    return time.perf_counter() - began, cpu_seconds() - cpu


def cpu_seconds():
    """User and system time of this process and of the ended ones it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
