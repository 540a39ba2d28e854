"""Fine-tune a work dir's network on the user's data."""

import errno
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from socket import gethostname

from instance_segmentation.errors import DiskFullError, TrainingError
from instance_segmentation.records.lock_changes import changes
from instance_segmentation.records.run_lock import read_lock, write_lock
from instance_segmentation.report import say
from instance_segmentation.templates.workdir import open_workdir
from instance_segmentation.training.devices import chosen_device, say_missing_gpu
from instance_segmentation.training.output_folder import occupied, output_folder
from instance_segmentation.training.preparing import prepare
from instance_segmentation.training.processes import from_first, joined, launch, launcher

# How torch says it: CUDA; its CPU allocator; a loader's process that the kernel ended; one whose shared memory is full
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "is killed by signal: Killed", "Bus error")


@dataclass(frozen=True)
class TrainResult:
    """Where a training left its files; `best` is None when validation never scored."""

    latest: Path
    best: Path | None
    curves: Path
    best_segm_ap: float
    best_epoch: int | None


def train(work_dir, *, gpu_num=None, nproc_per_node=None, report=None, **options):
    """Fine-tune a work dir's network, in several processes if asked to.

    Args:
        work_dir: Folder made by `instantiate`.
        gpu_num: GPUs, with a process for each; 0 is CPU. The template's number when None. When torchrun or srun started this
            process as one of several, these train together, and only 0 or not 0 counts here.
        nproc_per_node: Processes that share the CPU; 1 when None.
        report: .html file about the best checkpoint on the validation images, as of `evaluate`.
        options: Of `prepare`.

    Returns:
        A TrainResult.

    Raises:
        DatasetError, TemplateError, WeightsError: Before anything is started.
        TrainingError: Training could not go on, `resume_from` belongs to another run, another training is writing into the
            output folder, or a process died.
        KeyboardInterrupt, SystemExit: After Ctrl-C or SIGTERM, when latest.pth was saved.
    """
    if report:
        from instance_segmentation.records.html_report import check_report
        check_report(report)
    work, asked = open_workdir(work_dir), gpu_num
    gpu_num = work.template.gpu_num if gpu_num is None else gpu_num
    number = count_processes(gpu_num, nproc_per_node)
    with chosen_device(gpu_num):
        if number > 1 and launcher() == "none":
            result, first = launch(number, work_dir, options | dict(gpu_num=gpu_num)), True
        else:
            result, first = _train_here(work, options, gpu_num, asked)
        if report and first:
            _write_report(work, result, options, report)
    return result


def _train_here(work, options, gpu_num, asked):
    """Train as one process, or as one of several; returns the TrainResult and whether this is the first process."""
    with joined(gpu_num), ExitStack() as until_the_end:
        from mmengine.dist import is_main_process
        cfg, output = from_first(lambda: _prepare(work, options, gpu_num, asked, until_the_end))
        runner = _run(cfg)
        return from_first(lambda: _finish(runner, work, output)), is_main_process()


def _write_report(work, result, options, report):
    from instance_segmentation.evaluation import evaluate
    shared = {name: options[name] for name in ("config", "num_workers", "tile", "overlap", "trust_checkpoint") if name in options}
    evaluate(work.path, load_weights=result.best or result.latest, test_ann_files=options["val_ann_files"],
             test_data_roots=options["val_data_roots"], report=report, **shared)


def _prepare(work, options, gpu_num, asked, until_the_end):
    """As `prepare`, keep other trainings out of the output folder, and write run.lock.yaml; `asked`: the user's --gpu-num."""
    from mmengine.dist import get_world_size
    until_the_end.enter_context(occupied(output_folder(work, options.get("save_checkpoints_to"))))
    cfg, output = prepare(work, **options)
    if asked:
        say_missing_gpu(asked)
    sharing = dict(nproc_per_node=get_world_size()) if gpu_num == 0 else {}
    earlier = read_lock(Path(cfg.load_from).parent) if cfg.resume else None
    write_lock(work, options | cfg.instseg.flags.to_dict() | dict(gpu_num=gpu_num, **sharing), cfg)
    if earlier and (listed := changes(earlier, read_lock(output))):
        say("Changed", "since this run began or was last resumed: " + "; ".join(listed))
    return cfg, output


def count_processes(gpu_num, nproc_per_node=None):
    """How many processes `train` starts.

    Raises:
        TrainingError: The numbers contradict each other.
    """
    if gpu_num == 0:
        return nproc_per_node or 1
    if nproc_per_node not in (None, gpu_num):
        raise TrainingError(f"--nproc-per-node {nproc_per_node} is for the CPU (--gpu-num 0); each of --gpu-num {gpu_num} GPUs "
                            "has one process")
    return gpu_num


def _run(cfg):
    from instance_segmentation.engine import register
    register("Training")  # where `prepare` did not run
    from instance_segmentation.engine.runner import FineTuneRunner
    if not Path(cfg.val_evaluator.ann_file).is_file():
        raise TrainingError(f"{cfg.work_dir} on {gethostname()} lacks what the first process wrote there; --save-checkpoints-to "
                            "must name a folder that all machines share")
    try:
        runner = FineTuneRunner.from_cfg(cfg)
        runner.train()
    except (RuntimeError, MemoryError, OSError) as error:
        raise as_training_error(error, cfg.train_dataloader.batch_size, cfg.work_dir) from error
    return runner


def _finish(runner, work, output):
    from instance_segmentation.plots import training_curves
    info = runner.message_hub.runtime_info
    best = output / "best.pth" if "best_epoch" in info and (output / "best.pth").is_file() else None
    if (output / "scalars.json").is_file():  # a finished run's checkpoint, resumed without the file, takes no step
        training_curves(output / "scalars.json", output / "curves.png")
        say("Curves", str(output / "curves.png"))
    latest, cut = output / "latest.pth", runner.cfg.instseg.tile
    tiles = f" --tile {cut[0]} --overlap {cut[1]}" if cut else ""
    say("Weights", f"{latest}" + (f"  (best: {best.name}, epoch {info['best_epoch']}, segm AP {info['best_score']:.3f})"
                                  if best else "  (no best.pth: no validation since found an object)" if "waited_since" in info
                                  else "  (no best.pth: validation never found an object)"))
    say("Next", f"python {quote(str(work.path / 'eval.py'))} --load-weights {quote(str(best or latest))} --test-ann-files FILE "
        f"--test-data-roots DIR --save-metrics-to {quote(str(work.path / 'metrics.yaml'))}{tiles}")
    return TrainResult(latest, best, output / "curves.png", info.get("best_score", float("nan")), info.get("best_epoch"))


def as_training_error(error, batch_size, output):
    """Say what to do about an exhausted memory or disk; any other error is our bug and keeps its traceback."""
    if is_full_disk(error):
        return DiskFullError(f"{output}: the disk is full ({error}). latest.pth is as it was saved last, and whole; make room "
                             "and continue with --resume-from auto")
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return TrainingError(f"memory is exhausted with --batch-size {batch_size}; pass a smaller one, --batch-size auto, a "
                             "smaller --input-size or fewer --num-workers (their shared memory counts, too), and continue with "
                             "--resume-from auto: latest.pth is whole")
    if "gloo/transport" in str(error) or type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError"):
        return TrainingError("another process of this training ended, which its own message explains. latest.pth is as it was "
                             "saved last, and whole: continue with --resume-from auto")
    return error


def is_full_disk(error):
    """Whether an error, or the one it was raised from, says that no space is left."""
    return error is not None and (getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
                                  or is_full_disk(error.__cause__ or error.__context__))
