"""Training speed: stock MMDetection beside ours, on the same network, images and batch, in one run.

    python benchmarks/training.py --annotations train.json --images train            # the 480 template, batch 4, 24 steps

Each contender trains in a process of its own, from the same random weights: MMDetection as it is (its data set, mask head,
samplers and loop, mmengine's runner, PyTorch's own memory and thread settings) and what train.py runs, with and without
bfloat16. Images per second and seconds per image are those of the second half of the steps, loader included; the loss is
the mean over the last quarter; the peak is the resident memory of the training process, which the loader's come on top of.
All contenders train at the template's one size, and see the same pixels, unless `--multi-scale` is given.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
CONTENDERS = ("stock", "float32", "auto")


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="a COCO file")
    parser.add_argument("--images", type=Path, required=True, help="the folder of its images")
    parser.add_argument("--template", default="480x480", choices=["480x480", "576x576"])
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--multi-scale", action="store_true", help="train at the template's many sizes instead of one")
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--child", nargs=2, metavar=("CONTENDER", "CONFIG"), help=argparse.SUPPRESS)
    return parser.parse_args()


def run_config(template, annotations, folder, seed=0, input_size=None, **run):
    """train.py's config for random weights, which it leaves in `folder` so that all contenders start from them.

    Args:
        template: `480x480` or `576x576`.
        annotations: coco.Annotations to train on.
        folder: An existing folder.
        seed: Of the weights and of the run.
        input_size: Side in pixels; the template's when None.
        run: Further arguments of `train_config`.
    """
    import torch

    from instance_segmentation.engine.config import read_config, set_input_size, train_config
    from instance_segmentation.engine.network import build_network
    cfg = read_config(template_config(template))
    if input_size:
        set_input_size(cfg, (input_size, input_size))
    truth = annotations.write(folder / "train.json", masks="polygon")
    cfg = train_config(cfg, train_json=truth, val_json=truth, images=len(annotations.images), classes=annotations.classes,
                       output=folder, start="from_random", seed=seed, **run)
    cfg.instseg = dict(classes=list(annotations.classes))
    torch.manual_seed(seed)
    model = build_network(cfg, annotations.classes)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / "start.pth")
    cfg.update(load_from=str(folder / "start.pth"), val_dataloader=None, val_cfg=None, val_evaluator=None)
    cfg.default_hooks.checkpoint = None
    return cfg


def template_config(template):
    """The path of a template's model.py."""
    return REPO / f"model_templates/custom-instance-segmentation/efficientnet_b2b-mask_rcnn-{template}/model.py"


def as_stock(cfg, same_draws=False):
    """The same training by mmdet's and mmengine's own classes and hooks.

    With `same_draws` its images are scaled and mirrored like ours. mmengine's loader starts its processes with the same seeds in
    every epoch, so that stock's scales and flips repeat, place by place.
    """
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=cfg.train_cfg.max_epochs)
    if not same_draws:
        cfg.train_dataloader.sampler.type, cfg.train_dataloader.dataset.type = "DefaultSampler", "RepeatDataset"
    cfg.train_dataloader.dataset.dataset.type = "CocoDataset"
    cfg.train_dataloader.pop("worker_init_fn")
    cfg.model.roi_head.mask_head.type = "FCNMaskHead"
    cfg.model.backbone.pop("act_cfg")
    cfg.model.train_cfg.rpn_proposal.nms.pop("split_thr")
    cfg.custom_hooks = []
    cfg.work_dir = f"{cfg.work_dir}/stock"  # where mmengine dumps the config, under the name it was read from
    return cfg


def make_runner(contender, file):
    """In a child: the runner of one contender for a config file."""
    from mmengine.config import Config
    from mmengine.runner import Runner
    cfg = Config.fromfile(file)
    from instance_segmentation.engine import register
    from instance_segmentation.engine.runner import FineTuneRunner
    if contender == "stock":
        from mmdet.utils import register_all_modules
        register_all_modules()
        return Runner.from_cfg(as_stock(cfg))
    register("The benchmark")
    if contender == "same-draws":
        return Runner.from_cfg(as_stock(cfg, same_draws=True))
    next(hook for hook in cfg.custom_hooks if hook.type == "FastSteps").precision = contender
    return FineTuneRunner.from_cfg(cfg)


def train(contender, file, args):
    """In a child: train, and print one JSON line with what was measured."""
    from mmengine.hooks import Hook
    seconds, losses = [], []

    class Clock(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            losses.append(float(outputs["loss"].detach()))
            seconds.append(time.perf_counter())
            if len(seconds) == args.steps:
                report(args.batch_size, seconds, losses)
                os._exit(0)  # the loader's processes end with it

    runner = make_runner(contender, file)
    runner.register_hook(Clock(), priority="LOWEST")
    runner.train()


def report(batch_size, seconds, losses):
    """Print what the parent reads."""
    half = seconds[len(seconds) // 2 - 1:]
    steps = [after - before for before, after in zip(half, half[1:], strict=False)]
    print(json.dumps(dict(image_s=median(steps) / batch_size, images_s=batch_size * len(steps) / (half[-1] - half[0]),
                          loss=mean(losses[-max(1, len(losses) // 4):]),
                          peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)), flush=True)


def config(args, folder):
    """The config of one epoch that is longer than all steps."""
    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine import register
    register("The benchmark")
    annotations = read_annotations([args.annotations], [args.images])
    size = tuple(map(int, args.template.split("x")))
    cfg = run_config(args.template, annotations, folder, epochs=1, batch_size=args.batch_size, overrides={} if args.multi_scale
                     else {"train_dataloader.dataset.dataset.pipeline.2.scales": [size]})
    cfg.train_dataloader.dataset.times = 1 + args.steps * args.batch_size // len(annotations.images)
    return cfg


def main():
    """Measure and print a line per contender."""
    args = parse()
    if args.child:
        train(*args.child, args)
        return
    print(f"{args.template}, batch {args.batch_size}, {args.steps} steps")
    print(f"{'':10} {'s/image':>8} {'images/s':>9} {'times stock':>12} {'peak GB':>8} {'loss':>7}", flush=True)
    first = None
    with tempfile.TemporaryDirectory(prefix="instseg_training_") as folder:
        config(args, Path(folder)).dump(Path(folder) / "run.py")
        for contender in args.contenders:
            child = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--child", contender, f"{folder}/run.py"],
                                   stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(child.stdout.strip().splitlines()[-1])
            first = first or found
            ratio = found["images_s"] / first["images_s"]
            print(f"{contender:10} {found['image_s']:8.3f} {found['images_s']:9.2f} {ratio:12.2f} {found['peak_gb']:8.2f} "
                  f"{found['loss']:7.3f}", flush=True)


if __name__ == "__main__":
    main()
