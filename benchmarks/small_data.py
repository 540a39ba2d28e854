"""What helps on a small data set: train a list of recipes on a COCO folder, one seed each, and print one table.

    python benchmarks/small_data.py strawberry --output tried --epochs 40 --input-size 384
    python benchmarks/small_data.py strawberry --output tried --load-weights backbone.pth --recipes adamw/heavy slow/mosaic/eval
        --cfg-options model.backbone.arch=b4 model.neck.in_channels=[32,56,160,448]

A recipe is named by its parts, in any order; what it does not name is as the template has it for this start (from_random or
from_backbone in model.py). Optimiser: sgd, adamw, gentle (AdamW at a fifth of its rate), slow (AdamW, the backbone at a tenth of
its rate). Augmentation: the names of train.py's --augment. Frozen stages of the backbone: frozen1 … frozen6. Backbone
normalisation: batch (each batch's statistics) or eval (the stored ones). And ema. `template` names nothing.

Finished recipes are kept in the output folder and not trained again, so the list can grow, and a night can be cut short. The
table shows each run's best epoch on the validation images, which flatters all of them alike.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from instance_segmentation.engine.augmentation import AUGMENTATIONS  # noqa: E402  the repository's, whatever is installed

TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"
RECIPES = ("template", "sgd/light", "adamw/light", "slow/light", "slow/light/eval", "slow/light/eval/frozen3", "slow/colour/eval",
           "slow/copy-paste/eval", "slow/mosaic/eval", "slow/heavy/eval", "slow/heavy/eval/ema", "adamw/heavy/batch")


def wrapper(optimizer, **more):
    """Cfg options that replace the optimizer; its rate is for batch 4."""
    return dict(cfg_options=dict(optim_wrapper=dict(_delete_=True, type="OptimWrapper", optimizer=optimizer,
                                                    clip_grad=dict(max_norm=10), **more)))


def adamw(rate, **more):
    """AdamW without weight decay on normalisation layers."""
    return wrapper(dict(type="AdamW", lr=rate, weight_decay=0.05), paramwise_cfg=dict(norm_decay_mult=0.0, **more))


PARTS = dict(
    template={}, ema=dict(ema=True), batch=dict(norm_eval=False), eval=dict(norm_eval=True),
    sgd=wrapper(dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0001)), adamw=adamw(0.001), gentle=adamw(0.0002),
    slow=adamw(0.001, custom_keys=dict(backbone=dict(lr_mult=0.1))),
    **{f"frozen{stages}": dict(frozen_stages=stages) for stages in range(1, 7)},
    **{name: dict(augment=name) for name in AUGMENTATIONS})


def parse():
    """Read the command line."""
    from instance_segmentation.cli.options import add_cfg_options, add_input_size
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="COCO folder, in one of the layouts that `instseg quickstart --data` knows")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs and results.json")
    parser.add_argument("--recipes", nargs="+", default=RECIPES, metavar="PART/PART…")
    parser.add_argument("--load-weights", type=Path, help="where to start; random weights without it")
    parser.add_argument("--template", default=TEMPLATE)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpu-num", type=int, help="0 is CPU")
    add_input_size(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if unknown := [part for name in args.recipes for part in name.split("/") if part not in PARTS]:
        parser.error(f"--recipes: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return args


def options(name, args):
    """Arguments of api.train for a recipe."""
    merged = {key: value for part in name.split("/") for key, value in PARTS[part].items()}
    return {**merged, "cfg_options": {**merged.get("cfg_options", {}), **(args.cfg_options or {})}}


def run(name, args, work, splits):
    """Train one recipe, or read what it gave before; returns segm AP, its AP50, the epoch and minutes."""
    from instance_segmentation.api import train
    from instance_segmentation.errors import TrainingError
    folder = args.output / name.replace("/", "+")
    if (folder / "result.json").is_file():
        return json.loads((folder / "result.json").read_text())
    started = time.monotonic()
    try:
        train(work, train_ann_files=[splits.train_json], train_data_roots=[splits.train_root], val_ann_files=[splits.val_json],
              val_data_roots=[splits.val_root], load_weights=args.load_weights, epochs=args.epochs, batch_size=args.batch_size,
              seed=args.seed, gpu_num=args.gpu_num, input_size=args.input_size, save_checkpoints_to=folder, **options(name, args))
        ended = ""
    except TrainingError as error:  # a recipe that diverges is a result
        ended = str(error)
    result = dict(best(folder / "scalars.json"), minutes=(time.monotonic() - started) / 60, ended=ended)
    (folder / "result.json").write_text(json.dumps(result))
    return result


def best(scalars_json):
    """Segm AP and AP50 of the best epoch, and its number."""
    records = [json.loads(line) for line in scalars_json.read_text().splitlines()] if scalars_json.is_file() else []
    found = [record for record in records if not math.isnan(record.get("segm/AP", math.nan))]
    top = max(found, key=lambda record: record["segm/AP"], default={})
    return {"AP": top.get("segm/AP", math.nan), "AP50": top.get("segm/AP50", math.nan), "epoch": top.get("step")}


def main():
    """Train what is missing, and print the table after every recipe."""
    from instance_segmentation.api import instantiate
    from instance_segmentation.data.layouts import find_splits
    from instance_segmentation.report import number, table
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    work, splits = args.output / "work", find_splits(args.data, args.output)
    if not work.is_dir():
        instantiate(args.template, work, load_snapshot=False)
    rows = []
    for name in args.recipes:
        result = run(name, args, work, splits)
        rows.append((name, number(result["AP"]), number(result["AP50"]), f"{result['epoch'] or '–'}/{args.epochs}",
                     f"{result['minutes']:.1f}", result["ended"][:60]))
        table(f"{args.data.name}, seed {args.seed}, start {args.load_weights or 'random weights'}",
              ("recipe", "segm AP", "AP50", "best epoch", "minutes", ""), rows)


if __name__ == "__main__":
    main()
