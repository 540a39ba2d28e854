"""RTMDet-Ins: the whole exported graph beside its trunk alone (backbone, neck, heads' convolutions), taking turns in one run.

    python benchmarks/rtmdet_ins.py                    # random weights of both templates, 80 classes
    python benchmarks/rtmdet_ins.py --int8 --profile

What the graph does beside the trunk: candidates, boxes, NMS, dynamic convolutions, mask crops. The weights are random, scaled so
that the most detections a template allows are found (tests/component/speaking.py).
"""

import argparse
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
CLASSES = [f"class {index}" for index in range(80)]


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--template", nargs="+", default=["rtmdet-ins_tiny-640x640", "rtmdet-ins_s-640x640"])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--int8", action="store_true", help="also quantise both (NNCF)")
    parser.add_argument("--profile", action="store_true", help="list where the time of the whole FP32 graph goes")
    return parser.parse_args()


def trunk_of(graph):
    """The same graph with the network's maps as its only outputs."""
    import openvino as ov

    from instance_segmentation.ir.quantize import CELL_MAPS
    graph = graph.clone()
    maps = [node.output(0) for node in graph.get_ordered_ops() if CELL_MAPS.fullmatch(node.get_friendly_name())]
    return ov.Model(maps, graph.get_parameters())


def quantised(model, graph, folder):
    """The graph in INT8, calibrated on two drawn images: good enough for its speed."""
    import cv2

    from instance_segmentation.ir.export import describe
    from instance_segmentation.ir.quantize import coordinate_names, quantize
    from tests.component.speaking import photo_like
    files = [Path(folder) / f"{seed}.png" for seed in range(2)]
    for seed, file in enumerate(files):
        cv2.imwrite(str(file), photo_like(model.input_size, seed))
    return quantize(graph, describe(model, None, "", "BGR"), files, coordinate_names(graph))


def main():
    """Measure and print a table per template."""
    args = parse()
    from instance_segmentation.deployment.benchmarking import tell, tell_layers
    from instance_segmentation.ir.graph import build_ir
    from instance_segmentation.ir.speed import measure, openvino_contender
    from tests.component.speaking import photo_like, speaking_network
    for template in args.template:
        model = speaking_network(CLASSES, (640, 640), template)
        graphs = {"f32": build_ir(model)}
        if args.int8:
            with tempfile.TemporaryDirectory() as folder:
                graphs["int8"] = quantised(model, graphs["f32"], folder)
        pixels = [photo_like((640, 640), 7).transpose(2, 0, 1)[None].astype("float32")]
        ways = [("f32", "f32"), ("f32", "bf16"), *([("int8", "f32")] if args.int8 else [])]
        contenders = [openvino_contender(f"{part}, {weights if weights == 'int8' else precision}", make(graphs[weights]), pixels,
                                         precision)
                      for weights, precision in ways for part, make in (("trunk", trunk_of), ("whole", lambda graph: graph))]
        found = len(contenders[1].request.infer({0: pixels[0]})["labels"])
        timings = measure(contenders, args.runs)
        tell(timings, f"{template}, random weights, {found} detections, {args.runs} runs each")
        for trunk, whole in zip(timings[::2], timings[1::2], strict=True):
            print(f"{whole.name}: {whole.median / trunk.median:.3f} times its trunk's latency")
        if args.profile:
            tell_layers(contenders[1].name, contenders[1].request)


if __name__ == "__main__":
    main()
