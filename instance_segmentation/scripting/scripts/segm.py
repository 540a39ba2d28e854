"""Instance segmentation: train a network on COCO annotations, find objects with it.

    python segm.py train --label label.txt --train train.json --valid valid.json --test test.json --output_weights out/segm.pth
    python segm.py inference --label label.txt --data images --model_weights out/segm.pth --output out/inference_results

label.txt has one class name per line. Images lie where the names in a COCO file say, seen from the file's own folder, the one
above, or images/ in either; those of train.json may lie in train/, too.
"""

import argparse
import sys

from instance_segmentation import api, cli

MODEL = "mask-rcnn_r101_fpn_1x_coco"  # any of mmdet's configurations (`mim search mmdet`), or a template (`instseg ls`)
WEIGHTS = "pretrained"  # those published with it, trained on COCO; none: random; or the path of a .pth file


def train(label, train, valid, test, output_weights, batch_size=4, num_workers=2, epoch=10, weights=WEIGHTS, input_size=None):
    """Train on the COCO file `train`, keep the epoch that is best on `valid`, and score it on `test`."""
    classes = api.read_label(label)
    # out/segm.pth gets the workspace out/segm, a work dir of this tool: its export.py makes an OpenVINO model of segm.pth
    workspace = api.make_workspace(MODEL, output_weights, weights)
    roots = [api.image_root(train), api.image_root(valid or train)]
    if valid is None:  # a fifth of the images is set aside
        parts = [workspace.path / "train_part.json", workspace.path / "valid_part.json"]
        train, valid = api.split_coco(train, parts, ratios=(4, 1), stratify=True)

    run = api.train(workspace.path, train_ann_files=[train], train_data_roots=[roots[0]], val_ann_files=[valid],
                    val_data_roots=[roots[1]], classes=classes, load_weights=workspace.weights, epochs=epoch,
                    batch_size=batch_size, num_workers=num_workers, input_size=input_size and (input_size, input_size))

    api.save_weights(run, output_weights)
    api.write_train_stats(run, output_weights)
    if test is not None:
        api.write_test_stats(test, output_weights, workspace)


def inference(label, data, model_weights, output, batch_size=4, num_workers=2):
    """Find objects in `data` (a COCO file, a folder, an image, or a text file with a path per line), and draw them."""
    api.find_objects(data, model_weights, output, classes=api.read_label(label), batch_size=batch_size, num_workers=num_workers)


def parser():
    """The command line; its flags are the functions' arguments."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = result.add_subparsers(required=True, dest="task", metavar="train|inference")
    command = tasks.add_parser("train", help="train a network, and score it")
    command.add_argument("--train", required=True, help="COCO file to train on")
    command.add_argument("--valid", help="COCO file that chooses the best epoch (default: a fifth of the images of --train)")
    command.add_argument("--test", help="COCO file to score the result on")
    command.add_argument("--output_weights", required=True, help="the .pth file to write")
    command.add_argument("--epoch", type=int, default=10, help="(default: %(default)s)")
    command.add_argument("--weights", default=WEIGHTS, help="to start from: pretrained, none or a file (default: %(default)s)")
    command.add_argument("--input_size", type=int, help="side of the network's square input, a multiple of 32")
    other = tasks.add_parser("inference", help="find objects in images, and draw them")
    other.add_argument("--data", required=True, help="COCO file, folder, image, or text file with a path per line")
    other.add_argument("--model_weights", required=True, help="the .pth file that train wrote, or an .xml exported from it")
    other.add_argument("--output", required=True, help="folder for the pictures and instances.json")
    for task in (command, other):
        task.add_argument("--label", required=True, help="text file with a class name per line")
        task.add_argument("--batch_size", type=int, default=4, help="images at a time (default: %(default)s)")
        task.add_argument("--num_workers", type=int, default=2, help="processes that read images (default: %(default)s)")
    return result


def call(arguments):
    """Call the function that the command line names."""
    arguments = vars(arguments)
    dict(train=train, inference=inference)[arguments.pop("task")](**arguments)


if __name__ == "__main__":
    sys.exit(cli.run(parser(), None, call))
