"""Small objects: recall of a network in whole photos beside the same network in tiles of them.

    python benchmarks/tiling.py --load-weights outputs/best.pth --work-dir WORK_DIR --tile 192 128

The photos are mosaics of 8 × 8 scenes of the sample data set, 1024×1024 pixels with some 300 objects of 19 to 58 pixels each.
The weights are a checkpoint or an export trained on that data set, like the quickstart's; a checkpoint may give --max-dets
detections per image in whole photos, too.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
from pycocotools import mask as coco_mask

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
SCENES, SCENE_PX = 8, 128


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load-weights", type=Path, required=True)
    parser.add_argument("--work-dir", type=Path, required=True, help="of these weights")
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--whole", type=int, nargs="*", default=[480, 640, 1024],
                        help="more input sizes for whole photos, px; only for checkpoints")
    parser.add_argument("--tile", type=int, nargs="+", default=[192, 128], help="sides of tiles to try, px")
    parser.add_argument("--overlap-px", type=int, default=58, help="the largest object")
    parser.add_argument("--max-dets", type=int, default=1000)
    return parser.parse_args()


def write_photos(folder, number):
    """Write the photos and photos.json."""
    from instance_segmentation.data.sample import CLASSES
    images, annotations = [], []
    for index in range(1, number + 1):
        picture, objects = draw_photo(index)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
        images.append(dict(id=index, file_name=f"{index}.png", width=picture.shape[1], height=picture.shape[0]))
        annotations += [dict(item, id=len(annotations) + place, image_id=index) for place, item in enumerate(objects, 1)]
    categories = [dict(id=place, name=name) for place, name in enumerate(CLASSES, 1)]
    (folder / "photos.json").write_bytes(msgspec.json.encode(
        dict(images=images, annotations=annotations, categories=categories)))
    return folder / "photos.json"


def draw_photo(seed):
    """One photo (H, W, 3) uint8 BGR and its annotations."""
    from instance_segmentation.coco.masks import to_rle
    from instance_segmentation.data.sample import draw_scene
    from instance_segmentation.inference.masks import placed
    side = SCENES * SCENE_PX
    picture, objects = np.zeros((side, side, 3), np.uint8), []
    for row in range(0, side, SCENE_PX):
        for column in range(0, side, SCENE_PX):
            scene, items = draw_scene(np.random.default_rng([seed, row, column]), (SCENE_PX, SCENE_PX))
            picture[row:row + SCENE_PX, column:column + SCENE_PX] = scene
            for item in items:
                rle = placed(to_rle(item["segmentation"], (SCENE_PX, SCENE_PX)), column, row, (side, side))
                objects.append(dict(item, bbox=coco_mask.toBbox(rle).tolist(),
                                    segmentation=dict(size=[side, side], counts=rle["counts"].decode("ascii"))))
    return picture, objects


def main():
    """Measure and print a table."""
    args = parse()
    from instance_segmentation.coco import read_annotations, tiled
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.engine.evaluation import run_test
    from instance_segmentation.evaluation import allow_detections, load_for_test
    model, _ = load_for_test(args.load_weights, args.work_dir / "model.py", False)
    cfg = read_config(args.work_dir / "model.py")
    with tempfile.TemporaryDirectory() as folder:
        truth = read_annotations(write_photos(Path(folder), args.photos), folder, classes=model.dataset_meta["classes"])
        print(truth.summary())

        def score(title, tiles=None):
            began = time.perf_counter()
            metrics, _, detections = run_test(model, cfg, truth, Path(folder), 0, tiles=tiles, max_dets=args.max_dets)
            recall = metrics[f"segm/AR{args.max_dets}"]
            print(f"{title:<42} segm AR@{args.max_dets} {recall:.3f}  AP {metrics['segm/AP']:.3f}  "
                  f"AP50 {metrics['segm/AP50']:.3f}  {len(detections) / args.photos:5.0f} found  "
                  f"{(time.perf_counter() - began) / args.photos:6.1f} s per photo", flush=True)
            return recall

        own = model.input_size
        score(f"whole photo at {own[1]}×{own[0]}, as trained")
        allow_detections(model, args.max_dets)
        whole = []
        for side in [own[0], *args.whole]:
            model.input_size = (side, side)
            whole.append(score(f"whole photo at {side}×{side}, up to {args.max_dets} found"))
        model.input_size = own
        for side in args.tile:
            tiles = tiled(truth, side, args.overlap_px / side)
            recall = score(f"{len(tiles.images) // args.photos} tiles of {side} px", tiles)
            print(f"    {recall / max(whole):.1f} times the best recall in whole photos")


if __name__ == "__main__":
    main()
