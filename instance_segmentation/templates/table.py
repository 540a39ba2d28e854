"""model_templates/README.md: the templates side by side, and which to take. `python -m instance_segmentation.templates.table`."""

import yaml

from instance_segmentation.report import say, write_text
from instance_segmentation.templates.catalogue import list_templates, templates_root

HEAD = """# Templates

<!-- Written by `python -m instance_segmentation.templates.table`; a test compares this file with the template.yaml files. -->

| you have, or want | take |
|---|---|
| your own classes, few photos, a CPU | `efficientnet_b2b-mask_rcnn-480x480`; for finer outlines `576x576` |
| the smallest network, large inputs | `rtmdet-ins_tiny-640x640` |
| the best masks that a CPU runs several times a second | `rtmdet-ins_s-640x640` |
| the highest AP, and a GPU | `instance-segmentation-security-0091`; without deformable convolutions `-0002` |
| the network behind one of the Open Model Zoo's `instance-segmentation-security-*`, to train on | the template of its name |
| Detectron's and Segmentoly's baseline, to compare with or to load its weights into | `mask_rcnn_r50_fpn-800x1344` |
| weights of Detectron2 or torchvision (`instseg import-weights`) | `mask_rcnn_r50_fpn-detectron2`, `-torchvision` |
| sharp outlines of large objects | `point_rend_r50-800x1344` |
| clients that expect YOLACT's outputs | `yolact_r50-544x544` |

AP is that of the published weights on COCO, in %. Mp are millions of parameters with 80 classes; GFLOPs are counted by
`instance_segmentation/engine/complexity.py` for one image, two operations per multiply-add. Where the originals state other
numbers, template.yaml says why. Milliseconds are the exported model's for one image on 2 CPU cores (AVX512-BF16, VNNI), with as
many objects as the template lets through (`benchmarks/templates.py`). Snapshots are downloaded by `instseg new`; without one,
training starts from random weights or from `--load-weights`.
"""
LATENCIES = "latency.yaml"
COLUMNS = ("template", "input", "Mp", "GFLOPs", "ms FP32, BF16, INT8", "box AP", "mask AP", "snapshot, MB", "good for")


def read_latencies():
    """Template name → ms per image in FP32, BF16 and, where it is offered, INT8, as benchmarks/templates.py measured them."""
    return yaml.safe_load((templates_root() / LATENCIES).read_text(encoding="utf-8"))


def write_latencies(latencies):
    """Write what `read_latencies` reads."""
    note = "# ms per image in FP32, BF16, INT8; written by benchmarks/templates.py\n"
    write_text(templates_root() / LATENCIES, note + yaml.safe_dump(latencies, default_flow_style=None))


def readme(templates, latencies):
    """The text of model_templates/README.md for these templates."""
    parts = [HEAD]
    for problem in dict.fromkeys(template.problem for template in templates):
        rows = [COLUMNS, ("---",) * len(COLUMNS),
                *(_row(template, latencies.get(template.name, ())) for template in templates if template.problem == problem)]
        parts.append(f"\n## {problem}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows))
    return "".join(parts)


def _row(template, latency):
    height, width = template.input_size
    numbers = [(template.metric("size"), 2), *((template.metric(key), 1) for key in ("complexity", "bbox", "segm"))]
    texts = ["–" if value is None else f"{value:.{digits}f}" for value, digits in numbers]
    texts.insert(2, ", ".join(map(str, latency)) or "–")
    snapshot = template.snapshot
    texts.append("–" if snapshot is None else f"{snapshot.size / 1e6:.0f}" if snapshot.size else "mmdet's")
    return f"[{template.name}]({template.path.parent.name}/{template.name})", f"{height}×{width}", *texts, template.good_for


if __name__ == "__main__":
    path = templates_root() / "README.md"
    write_text(path, readme(list_templates(), read_latencies()))
    say("Written", path)
