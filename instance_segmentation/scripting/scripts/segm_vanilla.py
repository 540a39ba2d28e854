"""Instance segmentation with MMDetection alone: train a network on COCO annotations, find objects with it.

    python segm.py train --label label.txt --train train.json --valid valid.json --test test.json --output_weights out/segm.pth
    python segm.py inference --label label.txt --data images --model_weights out/segm.pth --output out/inference_results

label.txt has one class name per line. Images lie where the names in a COCO file say, seen from the file's own folder, the one
above, or images/ in either; those of train.json may lie in train/, too.
"""

import argparse
import difflib
import json
from pathlib import Path

import cv2
import mmdet
import torch
from matplotlib import pyplot
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import VISUALIZERS
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.runner import Runner
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader

MODEL = "mask-rcnn_r101_fpn_1x_coco"  # any of mmdet's configurations (`mim search mmdet`), or the path of one
WEIGHTS = "pretrained"  # mmdet's own, trained on COCO; none: random; or the path of a .pth file
CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
LOWEST_SCORE = 0.3  # of what is drawn


def train(label, train, valid, test, output_weights, batch_size=4, num_workers=2, epoch=10, weights=WEIGHTS, input_size=None):
    """Train on the COCO file `train`, keep the epoch that is best on `valid`, and score it on `test`."""
    classes, output = read_label(label), Path(output_weights)
    workspace = output.with_suffix("")
    if workspace == output:
        raise SystemExit(f"--output_weights {output}: expected a name ending in .pth")
    workspace.mkdir(parents=True, exist_ok=True)
    cfg = read_config(MODEL)
    set_model(cfg, len(classes), find_weights(weights))
    set_schedule(cfg, epoch, keep_best=valid is not None)
    for split, ann_file in dict(train=train, val=valid, test=test or train).items():  # inference needs a test pipeline
        set_data(cfg, split, ann_file, classes, workspace, batch_size, num_workers)
    if input_size:
        set_input_size(cfg, input_size)
    cfg.work_dir = str(workspace)
    runner = Runner.from_cfg(cfg)
    runner.train()
    best = runner.message_hub.runtime_info.get("best_ckpt")
    if best:
        runner.load_checkpoint(best)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=classes)), state_dict=runner.model.state_dict()), output)
    cfg.dump(output.with_suffix(".py"))
    output.with_suffix(".dl.txt").write_text("\n".join(classes) + "\n")
    write_train_stats(Path(runner.log_dir) / "vis_data" / "scalars.json", output)
    if test is not None:
        runner.test()
        write_test_stats(workspace, output)


def inference(label, data, model_weights, output, batch_size=4, num_workers=2):
    """Find objects in `data` (a COCO file, a folder, an image, or a text file with a path per line), and draw them."""
    classes, output = read_label(label), Path(output)
    output.mkdir(parents=True, exist_ok=True)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    model = init_detector(str(Path(model_weights).with_suffix(".py")), str(model_weights), palette="random", device=device)
    learnt = list(model.dataset_meta["classes"])
    if learnt != classes:
        raise SystemExit(f"{label} names {', '.join(classes)}; {model_weights} has learnt {', '.join(learnt)}")
    visualizer = VISUALIZERS.build(dict(type="DetLocalVisualizer", name="inference"))
    visualizer.dataset_meta = model.dataset_meta
    loader = DataLoader(find_images(data), batch_size=batch_size, num_workers=num_workers, collate_fn=read_images)
    content = dict(images=[], categories=[dict(id=i, name=name) for i, name in enumerate(classes, 1)], annotations=[])
    for batch in loader:
        found = inference_detector(model, [image_bgr for _, image_bgr in batch])
        for (path, image_bgr), sample in zip(batch, found, strict=True):
            visualizer.add_datasample(path.name, image_bgr[..., ::-1], sample, draw_gt=False, pred_score_thr=LOWEST_SCORE,
                                      out_file=str(output / path.name))
            add_to_coco(content, path, image_bgr.shape, sample.pred_instances.cpu())
    (output / "instances.json").write_text(json.dumps(content))


def read_label(label):
    """Class names in the order of their lines."""
    return [line.strip() for line in Path(label).read_text(encoding="utf-8").splitlines() if line.strip()]


def config_file(model):
    """The file of one of mmdet's configurations, or of the user's own."""
    if model.endswith(".py"):
        return Path(__file__).resolve().parent / model
    names = {path.stem: path for path in CONFIGS.glob("*/*.py")}
    if model not in names:
        raise SystemExit(f"MODEL = '{model}': mmdet has no such configuration; near: {difflib.get_close_matches(model, names)}")
    return names[model]


def read_config(model):
    """The configuration, with losses averaged over the last 50 steps in its log."""
    cfg = Config.fromfile(config_file(model))
    cfg.default_hooks.logger.update(interval=10, ignore_last=False)
    return cfg


def find_weights(weights):
    """The checkpoint to start from, downloaded once if it is mmdet's own; None for random weights."""
    if weights != "pretrained":
        return None if weights == "none" else weights
    others = "Start from random weights with --weights none, or from a file of yours with --weights FILE."
    metafile = config_file(MODEL).with_name("metafile.yml")
    entries = load(metafile)["Models"] if metafile.is_file() else []
    urls = [entry["Weights"] for entry in entries if entry["Name"] == MODEL and "Weights" in entry]
    if not urls:
        raise SystemExit(f"{MODEL}: mmdet publishes no weights of it. {others}")
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urls[0]).name
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(urls[0], path, hash_prefix=path.stem.rsplit("-", 1)[-1])
    except (OSError, RuntimeError) as error:  # no network, or not the whole file
        raise SystemExit(f"The weights of {MODEL} cannot be downloaded from {urls[0]} ({error}). {others}") from error
    return str(path)


def dicts_in(node):
    """Every dict inside nested dicts and lists."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            yield from dicts_in(value)


def set_model(cfg, num_classes, weights):
    """Size the heads, and start from `weights` instead of an ImageNet backbone's."""
    for part in list(dicts_in(cfg.model)):
        for key in {"num_classes", "num_things_classes"} & part.keys():
            part[key] = num_classes
        if isinstance(part.get("class_weight"), (list, tuple)):  # of all classes and the background
            part["class_weight"] = [part["class_weight"][0]] * num_classes + [part["class_weight"][-1]]
        if isinstance(part.get("init_cfg"), dict) and part["init_cfg"]["type"] == "Pretrained":
            del part["init_cfg"]
    if not weights and cfg.model.backbone.get("frozen_stages", 0) > 0:  # of use only when they were trained
        cfg.model.backbone.update(frozen_stages=-1, norm_eval=False)
    cfg.load_from = weights


def set_schedule(cfg, epochs, keep_best):
    """Warm up for an epoch, then lower the learning rate to nothing; the rate follows the batch size."""
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=epochs, val_interval=1)
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.01, end=1, convert_to_iter_based=True),
        dict(type="CosineAnnealingLR", T_max=epochs, end=epochs, convert_to_iter_based=True)]
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, max_keep_ckpts=1)
    if keep_best:
        cfg.default_hooks.checkpoint.update(save_best="coco/segm_mAP", rule="greater")
    if "auto_scale_lr" in cfg:
        cfg.auto_scale_lr.enable = True


def set_data(cfg, split, ann_file, classes, workspace, batch_size, num_workers):
    """Let the loader of a split read a COCO file; without a file there is no such split."""
    if ann_file is None:
        cfg.update({f"{split}_{part}": None for part in ("dataloader", "evaluator", "cfg")})
        return
    loader = cfg[f"{split}_dataloader"]
    loader.update(batch_size=batch_size, num_workers=num_workers, persistent_workers=num_workers > 0,
                  sampler=dict(type="DefaultSampler", shuffle=split == "train"))
    dataset = loader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    file = str(normalise(ann_file, classes, workspace / f"{split}.json"))
    dataset.update(type="CocoDataset", data_root="", ann_file=file, data_prefix=dict(img=""), metainfo=dict(classes=classes))
    if split != "train":
        cfg[f"{split}_cfg"] = dict(type="ValLoop" if split == "val" else "TestLoop")
        cfg[f"{split}_evaluator"] = [dict(type="CocoMetric", ann_file=file, metric=["bbox", "segm"],
                                          outfile_prefix=str(workspace / f"{split}_outputs"))]
    if split == "test":
        cfg.test_evaluator.append(dict(type="DumpDetResults", out_file_path=str(workspace / "test_outputs.pkl")))


def normalise(ann_file, classes, target):
    """Write a COCO file as mmdet and pycocotools need it: classes in their order, ids from 1, whole paths, floats."""
    content, root = json.loads(Path(ann_file).read_text(encoding="utf-8")), image_root(ann_file)
    names = {category["id"]: category["name"] for category in content["categories"]}
    unknown = set(classes) - set(names.values())
    if unknown:
        raise SystemExit(f"{ann_file} has no class {', '.join(sorted(unknown))}; it has {', '.join(names.values())}")
    images = [{**image, "file_name": str(root / image["file_name"])} for image in content["images"]]
    objects = [item for item in content["annotations"] if names[item["category_id"]] in classes]
    for number, item in enumerate(objects, 1):
        item.update(id=number, category_id=1 + classes.index(names[item["category_id"]]))
        if isinstance(item["segmentation"], list):  # mmdet would round the corners of whole numbers
            item["segmentation"] = [[float(value) for value in part] for part in item["segmentation"]]
    categories = [dict(id=number, name=name) for number, name in enumerate(classes, 1)]
    target.write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))
    return target


def image_root(ann_file):
    """The folder that the names in a COCO file are meant from."""
    folder = Path(ann_file).resolve().parent
    name = json.loads(Path(ann_file).read_text(encoding="utf-8"))["images"][0]["file_name"]
    for root in (folder, folder / Path(ann_file).stem, folder / "images", folder.parent, folder.parent / "images"):
        if (root / name).is_file():
            return root
    raise SystemExit(f"{ann_file}: its image {name} is neither in {folder} nor in images/ there or above")


def set_input_size(cfg, side):
    """Let images be resized to fit into a square of `side` pixels, for a network that is faster and sees less."""
    for step in dicts_in([cfg[name].dataset for name in cfg if name.endswith("_dataloader") and cfg[name]]):
        if step.get("type") in ("Resize", "RandomResize"):
            step["scale"] = (side, side)
        elif step.get("type") == "RandomChoiceResize":
            step["scales"] = [(side, side)]


def write_train_stats(log, output):
    """Write X.train_stats.train.txt and X.train_stats.valid.txt, a line per epoch, and a picture of each."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    last = {line["epoch"]: line for line in lines if "loss" in line}
    if last:
        losses = [key for key in next(iter(last.values())) if key == "acc" or "loss" in key]
        columns = ["epoch", "lr", "data_time", *losses, "time", "memory"]  # memory is a GPU's, nan without one
        write_table(output.with_suffix(".train_stats.train.txt"), columns, list(last.values()))
    scores = [line for line in lines if "coco/segm_mAP" in line]
    if scores:
        write_table(output.with_suffix(".train_stats.valid.txt"), list(scores[0]), scores)


def write_table(path, columns, rows):
    """Write tab-separated columns, and draw losses and overall scores over the epochs."""
    cells = [columns, *([str(row.get(column, "nan")) for column in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in cells))
    epochs = [row["epoch" if "epoch" in columns else "step"] for row in rows]
    figure, axes = pyplot.subplots(layout="constrained")
    for column in (name for name in columns if "loss" in name or name.endswith(("mAP", "mAP_50"))):
        axes.plot(epochs, [row[column] for row in rows], marker=".", label=column)
    axes.set(xlabel="epoch")
    axes.legend(fontsize="small")
    figure.savefig(path.with_suffix(".png"))
    pyplot.close(figure)


def write_test_stats(workspace, output):
    """Write the predictions as X/test_outputs.coco.json and their scores as X.test_stats.json."""
    truth, results = load(workspace / "test.json"), load(workspace / "test_outputs.segm.json")
    found = [dict(item, id=number, iscrowd=0, area=float(coco_mask.area(item["segmentation"])),
                  bbox=coco_mask.toBbox(item["segmentation"]).tolist()) for number, item in enumerate(results, 1)]
    (workspace / "test_outputs.coco.json").write_text(json.dumps({**truth, "annotations": found}))
    stats = test_stats(COCO(workspace / "test.json"), COCO(workspace / "test_outputs.coco.json"))
    output.with_suffix(".test_stats.json").write_text(json.dumps(stats, indent=4))


def test_stats(truth, found):
    """AP and AR of masks: means over the classes, and each class's own; -1 where there is nothing to find."""
    evaluation = COCOeval(truth, found, "segm")
    evaluation.params.maxDets = limits = [100, 300, 1000]
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]  # IoU, (recall,) class, size, limit
    sizes, rows = evaluation.params.areaRngLbl, {"0.50:0.95": slice(None), "0.50": [0], "0.75": [5]}
    wanted = [("AP", "0.50:0.95", "all", 100), ("AP", "0.50", "all", 1000), ("AP", "0.75", "all", 1000),
              *(("AP", "0.50:0.95", size, 1000) for size in sizes[1:]), *(("AR", "0.50:0.95", "all", limit) for limit in limits),
              *(("AR", "0.50:0.95", size, 1000) for size in sizes[1:])]

    def stats(classes):
        values = {}
        for kind, iou, size, limit in wanted:
            table = (precision if kind == "AP" else recall)[rows[iou]][..., sizes.index(size), limits.index(limit)][..., classes]
            values[f"{kind}@[{iou}|{size}|{limit}]"] = float(table[table > -1].mean()) if (table > -1).any() else -1.0
        return values

    names = [truth.cats[number]["name"] for number in evaluation.params.catIds]
    return dict(stats=stats(slice(None)), class_stats={name: stats([index]) for index, name in enumerate(names)})


def find_images(data):
    """The image files that `data` means."""
    path = Path(data)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if cv2.haveImageReader(str(file)))
    if path.suffix == ".json":
        return [image_root(path) / image["file_name"] for image in load(path)["images"]]
    if path.suffix == ".txt":
        return [Path(line.split("\t")[0]) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [path]


def read_images(paths):
    """(path, (H, W, 3) uint8 BGR) of each image."""
    images = [(path, cv2.imread(str(path))) for path in paths]
    for path, image_bgr in images:
        if image_bgr is None:
            raise SystemExit(f"{path}: cannot be read as an image")
    return images


def add_to_coco(content, path, shape, found):
    """Add an image and what was found on it to a COCO document."""
    image_id = len(content["images"]) + 1
    content["images"].append(dict(id=image_id, file_name=str(path), height=shape[0], width=shape[1]))
    columns = found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks
    for box, score, label, mask in zip(*columns, strict=True):
        rle = coco_mask.encode(mask.numpy().astype("uint8", order="F"))
        content["annotations"].append(dict(
            id=len(content["annotations"]) + 1, image_id=image_id, category_id=label + 1, score=score, iscrowd=0,
            bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]], area=float(coco_mask.area(rle)),
            segmentation=dict(size=rle["size"], counts=rle["counts"].decode())))


def main():
    """Read the command line; its flags are the functions' arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(required=True, metavar="train|inference")
    command = tasks.add_parser("train", help="train a network, and score it")
    command.set_defaults(call=train)
    command.add_argument("--train", required=True, help="COCO file to train on")
    command.add_argument("--valid", help="COCO file that chooses the best epoch")
    command.add_argument("--test", help="COCO file to score the result on")
    command.add_argument("--output_weights", required=True, help="the .pth file to write")
    command.add_argument("--epoch", type=int, default=10, help="(default: %(default)s)")
    command.add_argument("--weights", default=WEIGHTS, help="to start from: pretrained, none or a file (default: %(default)s)")
    command.add_argument("--input_size", type=int, help="longest side of the images in pixels (default: the configuration's)")
    other = tasks.add_parser("inference", help="find objects in images, and draw them")
    other.set_defaults(call=inference)
    other.add_argument("--data", required=True, help="COCO file, folder, image, or text file with a path per line")
    other.add_argument("--model_weights", required=True, help="the .pth file that train wrote")
    other.add_argument("--output", required=True, help="folder for the pictures and instances.json")
    for task in (command, other):
        task.add_argument("--label", required=True, help="text file with a class name per line")
        task.add_argument("--batch_size", type=int, default=4, help="images at a time (default: %(default)s)")
        task.add_argument("--num_workers", type=int, default=2, help="processes that read images (default: %(default)s)")
    arguments = vars(parser.parse_args())
    arguments.pop("call")(**arguments)


if __name__ == "__main__":
    main()
