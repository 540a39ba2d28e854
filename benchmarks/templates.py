"""Every template's IR at its own input size: milliseconds per image in FP32, BF16 and INT8, taking turns in one run.

    python benchmarks/templates.py --write        # all; kept in model_templates/latency.yaml, which README.md there shows
    python benchmarks/templates.py --template yolact_r50-544x544 --runs 15

The weights are random, scaled so that the most detections a template allows are found (tests/component/speaking.py): the heads
cost what they cost in a full image. INT8 is calibrated on two drawn images, which is good enough for its speed.
"""

import argparse
import sys
import tempfile

from rtmdet_ins import CLASSES, REPO, quantised

sys.path.insert(0, str(REPO))


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--template", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="add the medians to model_templates/latency.yaml")
    return parser.parse_args()


def contenders(template):
    """The template's network in each precision, and how many objects it finds."""
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.speed import openvino_contender
    from tests.component.speaking import photo_like, speaking_network
    model = speaking_network(CLASSES, template.input_size, template.name)
    pixels = [photo_like(model.input_size, 7).transpose(2, 0, 1)[None].astype("float32")]
    graph = build_ir(model)
    ways = [openvino_contender("FP32", graph, pixels), openvino_contender("BF16", graph, pixels, "bf16")]
    if template.optimisations:
        with tempfile.TemporaryDirectory() as folder:
            ways.append(openvino_contender("INT8", quantised(model, graph, folder), pixels))
    found = ways[0].request.infer({0: pixels[0]})
    return ways, len(found["labels"]) if any("labels" in names for names in found.names()) else None


def main():
    """Measure and print a table per template; keep what was measured after each, since all take long."""
    args = parse()
    from instance_segmentation.deployment.benchmarking import tell
    from instance_segmentation.ir.speed import measure
    from instance_segmentation.templates.catalogue import list_templates
    from instance_segmentation.templates.table import read_latencies, write_latencies
    for template in list_templates():
        if args.template and template.name not in args.template:
            continue
        ways, found = contenders(template)
        timings = measure(ways, args.runs, rounds=1)
        tell(timings, f"{template.name}, {'all anchors' if found is None else f'{found} detections'}, {args.runs} runs each")
        if args.write:
            write_latencies(read_latencies() | {template.name: [round(timing.median) for timing in timings]})


if __name__ == "__main__":
    main()
