"""Whether faster training steps learn the same: AP of stock MMDetection and of ours over several seeds, and their loss curves.

    python benchmarks/training_ap.py --data quickstart/data --input-size 192 --epochs 6 --seeds 0 1 2

The contenders are those of benchmarks/training.py, and `same-draws`: stock that scales and mirrors its images like ours. They
start from the same random weights per seed; all checkpoints are scored by this package's evaluator on the validation images.
`--curves FILE` draws the losses, averaged over 20 steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
from benchmarks.training import CONTENDERS, make_runner, run_config, template_config  # noqa: E402


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json, val.json, train/ and val/")
    parser.add_argument("--template", default="480x480", choices=["480x480", "576x576"])
    parser.add_argument("--input-size", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS)
    parser.add_argument("--curves", type=Path, help="picture to write")
    parser.add_argument("--child", nargs=2, metavar=("CONTENDER", "CONFIG"), help=argparse.SUPPRESS)
    return parser.parse_args()


def config(args, seed, folder):
    """The config of one run."""
    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine import register
    register("The benchmark")
    training = read_annotations([args.data / "train.json"], [args.data / "train"])
    return run_config(args.template, training, folder, seed=seed, input_size=args.input_size, epochs=args.epochs,
                      batch_size=args.batch_size)


def train(contender, file):
    """In the child: train, and leave losses.json and weights.pth beside the config."""
    import torch
    from mmengine.hooks import Hook
    folder, losses = Path(file).parent, []

    class Losses(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            losses.append(float(outputs["loss"].detach()))

    runner = make_runner(contender, file)
    runner.register_hook(Losses())
    runner.train()
    torch.save(dict(state_dict=runner.model.state_dict(), meta={}), folder / "weights.pth")
    (folder / "losses.json").write_text(json.dumps(losses))


def score(args, folder):
    """Segm AP and AP50 of the weights on the validation images."""
    from mmengine.config import Config

    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.engine.evaluation import run_test
    from instance_segmentation.engine.network import build_network
    cfg = Config.fromfile(folder / "run.py")
    import torch
    model = build_network(cfg, cfg.instseg.classes).eval()
    model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True)["state_dict"])
    model.input_size = (args.input_size, args.input_size)
    validation = read_annotations([args.data / "val.json"], [args.data / "val"], classes=cfg.instseg.classes, all_classes=False)
    metrics, _, _ = run_test(model, read_config(template_config(args.template)), validation, folder)
    return metrics["segm/AP"], metrics["segm/AP50"]


def draw(curves, file):
    """Losses of each contender's runs, averaged over 20 steps."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for number, (contender, runs) in enumerate(curves.items()):
        for run in runs:
            smooth = [mean(run[max(0, step - 20):step]) for step in range(1, len(run) + 1)]
            axes.plot(smooth, color=f"C{number}", alpha=0.7, label=contender if run is runs[0] else None)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    figure.savefig(file, dpi=120)


def main():
    """Train and print a line per run."""
    args, curves = parse(), {}
    if args.child:
        train(*args.child)
        return
    print(f"{'':10} {'seed':>4} {'segm AP':>8} {'AP50':>6} {'last loss':>10}", flush=True)
    for seed in args.seeds:
        for contender in args.contenders:
            with tempfile.TemporaryDirectory(prefix="instseg_training_") as folder:
                folder = Path(folder)
                config(args, seed, folder).dump(folder / "run.py")
                subprocess.run([sys.executable, __file__, *sys.argv[1:], "--child", contender, f"{folder}/run.py"],
                               stdout=subprocess.DEVNULL, check=True)
                losses, (ap, ap50) = json.loads((folder / "losses.json").read_text()), score(args, folder)
            curves.setdefault(contender, []).append(losses)
            print(f"{contender:10} {seed:4} {ap:8.4f} {ap50:6.3f} {mean(losses[-20:]):10.3f}", flush=True)
    if args.curves:
        draw(curves, args.curves)


if __name__ == "__main__":
    main()
