"""Training and evaluation on mmengine's Runner with mmdet's models. Import it only where a network is needed."""

import contextlib
import io
import os

from instance_segmentation.errors import MissingExtraError

# Read by libgomp when torch is loaded. By default a waiting thread spins for milliseconds, and takes the core from the
# loader's processes and whatever else runs: training steps took three times as long on two busy cores. 10,000 rounds are
# some tens of microseconds, which costs nothing on an idle machine.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Read by torch before it takes a GPU's memory. Images of many sizes leave holes of many sizes, which pages can fill.
if "PYTORCH_ALLOC_CONF" not in os.environ:
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")


def register(purpose="This command"):
    """Import mmdet and fill its registries with its classes and ours; takes seconds the first time.

    Raises:
        MissingExtraError: torch, mmdet or mmcv's compiled ops are not installed.
    """
    try:
        import mmcv._ext  # noqa: F401  without torch at build time mmcv installs silently without its ops
        with contextlib.redirect_stdout(io.StringIO()):  # mmdet's "Could not import OneDL"
            from mmdet.utils import register_all_modules
            register_all_modules()
    except ImportError as error:
        raise MissingExtraError("train", purpose) from error
    from instance_segmentation.engine.memory import keep_freed_memory
    keep_freed_memory()
    from instance_segmentation.engine import (  # noqa: F401
        bad_steps,
        balancing,
        conventions,
        dataset,
        deform_conv,
        drawing,
        early_stop,
        fast_steps,
        iterations,
        keep_checkpoints,
        loss_scaling,
        mask_head,
        metrics,
        mixing,
        point_rend,
        progress,
        pruning,
        replicas,
        resizing,
        rtmdet_ins,
        seeding,
        test_loop,
        train_loop,
        val_loop,
        yolact,
    )
