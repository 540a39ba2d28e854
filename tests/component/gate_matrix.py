"""Take a network of each family through the gate with this process's threads and instructions; print a JSON line for each.

    OMP_NUM_THREADS=2 ONEDNN_MAX_CPU_ISA=AVX2 python -m tests.component.gate_matrix
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import cv2

from tests.component.speaking import photo_like, speaking_network

FAMILIES = dict(mask_rcnn="480x480", cascade="security-0091", c4="mask_rcnn_r50_c4-800x1344",
                point_rend="point_rend_r50-800x1344", rtmdet_ins="rtmdet-ins_tiny-640x640", yolact="yolact_r50-544x544")
SIZE_HW, IMAGES = (192, 256), 4


def main(families):
    """Export each network and compare, without refusing anything."""
    from instance_segmentation.ir import parity
    from instance_segmentation.ir.graph import build_ir
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.png" for seed in range(IMAGES)]
        for seed, file in enumerate(files):
            cv2.imwrite(str(file), photo_like(SIZE_HW, 50 + seed))
        for family in families or FAMILIES:
            network = speaking_network(["a", "b", "c"], SIZE_HW, FAMILIES[family])
            found = parity.compare(network, build_ir(network), files)
            here = dict(threads=os.environ.get("OMP_NUM_THREADS"), isa=os.environ.get("ONEDNN_MAX_CPU_ISA", "all"))
            print(json.dumps(dict(family=family, **here, detections=found.detections, summary=found.summary(),
                                  problems=[*found._problems(parity.Tolerance())])), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
