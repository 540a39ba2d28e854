"""Train as Segmentoly's and Detectron's scripts do: counted in iterations, with SGD, in a new folder for each run."""

import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from instance_segmentation.data.named import find_dataset
from instance_segmentation.errors import DatasetError, TemplateError, TrainingError, WeightsError
from instance_segmentation.report import say
from instance_segmentation.templates.catalogue import find_template
from instance_segmentation.templates.workdir import instantiate
from instance_segmentation.training.train import train

BASELINE = "mask_rcnn_r50_fpn-800x1344"  # Detectron's end-to-end Mask R-CNN, ResNet-50-FPN
CAFFE_MEAN = (102.9801, 115.9465, 122.7717)  # b, g, r: of Detectron's ImageNet backbones
SEED = 0


def train_iterations(model=BASELINE, datasets=("coco_2017_train", "coco_2017_val"), *, output_dir="outputs", batch_size=16,
                     batch_size_per_gpu=2, lr=0.02, momentum=0.9, weight_decay=1e-4, max_iter=90000, test_interval=10000,
                     checkpoint_interval=10000, display_interval=20, warmup_iters=1000, warmup_factor=0.33,
                     warmup_method="linear", drop_lr=(60000, 80000), gamma=0.1, load_ckpt=None, load_backbone=None, resume=False,
                     max_image_size=None, mean_pixel=None, num_workers=4):
    """Train a template's network; what is not said stays as in Detectron's baseline.

    Args:
        model: A template's name or path.
        datasets: Names or COCO files of training and validation data, as of `find_dataset`.
        output_dir: Folder; the run's own, a work dir with `outputs/`, is `TEMPLATE/TIME` in it.
        batch_size: Images per iteration; gradients of several batches are added up for it.
        batch_size_per_gpu: Images per batch of each GPU, or of the CPU.
        lr, momentum, weight_decay: Of SGD; biases learn twice as fast and do not decay.
        max_iter, test_interval, checkpoint_interval, warmup_iters, warmup_factor, warmup_method, drop_lr, gamma: As of
            `engine.iterations.set_iterations`.
        display_interval: Iterations between two lines of the log and points in TensorBoard.
        load_ckpt: Checkpoint to start from, or with `resume` to go on from.
        load_backbone: Checkpoint with a backbone alone.
        resume: Continue the run of `load_ckpt`.
        max_image_size: Shorter and longer side of the input in pixels, rounded up to multiples of 32; the template's when None.
        mean_pixel: (b, g, r) to subtract. The checkpoint's or the template's when None; CAFFE_MEAN with `load_backbone`.
        num_workers: Data loading processes.

    Returns:
        A TrainResult.

    Raises:
        TrainingError: Flags contradict each other.
        TemplateError, DatasetError, WeightsError: As of `train`.
    """
    if load_ckpt and load_backbone:
        raise TrainingError("--load_ckpt and --load_backbone: both say where to start; give one of them")
    if resume and not load_ckpt:
        raise TrainingError("--resume: name the checkpoint to go on from with --load_ckpt")
    for flag, path in {"--load_ckpt": load_ckpt, "--load_backbone": load_backbone}.items():
        if path and not Path(path).is_file():
            raise WeightsError(f"{flag} {path}: no such file; give the path of a .pth checkpoint")
    template, data, gpus = find_template(model), _data(*datasets), _gpus()
    accumulate = _batches(batch_size, batch_size_per_gpu, max(gpus, 1))
    mean = mean_pixel or (CAFFE_MEAN if load_backbone else None)
    work = instantiate(template, Path(output_dir) / template.name / time.strftime("%Y-%m-%d_%H-%M-%S"), load_snapshot=False)
    say("Run", str(work))
    say("Schedule", f"{max_iter} iterations of {batch_size} images, validated every {test_interval}; an epoch lies in between")
    with _removed_unless_begun(work):
        return train(
            work, **data, gpu_num=gpus, seed=None if resume else SEED, resume_from=load_ckpt if resume else None,
            load_weights=None if resume else load_ckpt or load_backbone,
            batch_size=batch_size_per_gpu, base_learning_rate=lr, num_workers=num_workers,
            input_size=max_image_size and tuple(-(-side // 32) * 32 for side in max_image_size),
            normalisation=mean and dict(mean=list(mean), std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
            cfg_options={"optim_wrapper": _sgd(lr, momentum, weight_decay, accumulate),
                         "default_hooks.logger.interval": display_interval * accumulate},
            iterations=dict(number=max_iter, validate_every=test_interval, save_every=checkpoint_interval,
                            warmup_iters=warmup_iters, warmup_factor=warmup_factor, warmup_method=warmup_method,
                            drop_lr=list(drop_lr), gamma=gamma))


@contextmanager
def _removed_unless_begun(work):
    """Take away a run's new folder when what was asked for turns out to be wrong before the first step."""
    try:
        yield
    except (DatasetError, TemplateError, WeightsError):
        if not (work / "outputs/latest.pth").is_file():
            shutil.rmtree(work)
            for folder in (work.parent, work.parent.parent):
                with suppress(OSError):  # others' runs are in it
                    folder.rmdir()
        raise


def _data(training, validation):
    """Both data sets as arguments of `train`."""
    found = {}
    for split, data in dict(train=find_dataset(training), val=find_dataset(validation)).items():
        if not data.ann_file.is_file():
            raise DatasetError(f"--dataset: {data.ann_file} is missing; unpack MS COCO to data/coco (annotations/, images/), or "
                               "give two COCO files")
        found |= {f"{split}_ann_files": [str(data.ann_file)], f"{split}_data_roots": [str(data.image_root)]}
    return found


def _gpus():
    from instance_segmentation.engine import register
    register("Training")
    from torch.cuda import device_count
    return device_count()


def _batches(total, per_gpu, gpus):
    """How many batches make an iteration."""
    if total % (per_gpu * gpus):
        raise TrainingError(f"--bs {total}: is no multiple of --bs_per_gpu {per_gpu} times {gpus} (GPUs, or the CPU); change one")
    return total // (per_gpu * gpus)


def _sgd(lr, momentum, weight_decay, accumulate):
    """Detectron's optimizer as a config value."""
    return dict(_delete_=True, type="OptimWrapper", accumulative_counts=accumulate,
                optimizer=dict(type="SGD", lr=lr, momentum=momentum, weight_decay=weight_decay),
                paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))
