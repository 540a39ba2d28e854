"""One training in several processes: start them here or be started by torchrun or srun, and let the first one speak for all."""

import ctypes
import logging
import os
import pickle
import signal
import sys
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path

from instance_segmentation.errors import InstSegError, MissingExtraError, TrainingError

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
SHUTDOWN_S = 600  # Ctrl-C: for the step that is being taken, and for saving it


def launcher():
    """What started this process as one of several: "pytorch" (torchrun, `launch`), "slurm" (srun) or "none"."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return "pytorch"
    return "slurm" if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 else "none"


def launch(number, work_dir, options):
    """Train in that many processes on this machine.

    Args:
        number: Of processes.
        work_dir, options: Arguments of `train`.

    Returns:
        The TrainResult of the first.

    Raises:
        InstSegError: As the first process that failed raised it.
        TrainingError: There are fewer GPUs, or a process died; the others were ended.
        MissingExtraError: torch is not installed.
        KeyboardInterrupt: After Ctrl-C, when the processes have saved and ended.
    """
    try:
        from torch.cuda import device_count
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    except ImportError as error:
        raise MissingExtraError("train", "Training") from error
    if options["gpu_num"] > max(device_count(), 1):  # one that is not there is the CPU
        raise TrainingError(f"--gpu-num {number}: there are {device_count()} GPUs here; pass that number, or --gpu-num 0 "
                            "--nproc-per-node N for N processes on the CPU")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it reports what we say in our own words
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // number)))
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        (Path(folder) / "call").write_bytes(pickle.dumps((work_dir, options, sys.orig_argv)))
        config = LaunchConfig(1, 1, number, run_id=uuid.uuid4().hex, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
                              max_restarts=0, shutdown_timeout=SHUTDOWN_S,
                              signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")
        try:
            elastic_launch(config, sys.executable)("-m", __name__, folder)
        except SignalException as ended:
            raise KeyboardInterrupt if ended.sigval == signal.SIGINT else SystemExit(128 + ended.sigval) from None
        except ChildFailedError as failed:
            code = failed.get_first_failure()[1].exitcode
            if code > 128:  # a signal reached the processes, not this one; they have saved
                raise KeyboardInterrupt if code == 130 else SystemExit(code) from None
            raise _cause(Path(folder), failed, number) from None
        return pickle.loads((Path(folder) / "result").read_bytes())


def _cause(folder, failed, number):
    """The error that a process raised first, or that one died without a word."""
    told = sorted(folder.glob("error_*"), key=lambda path: path.stat().st_mtime_ns)
    rank, failure = failed.get_first_failure()
    if told and failure.exitcode >= 0:
        return pickle.loads(told[0].read_bytes())
    how = f"was ended by {signal.Signals(-failure.exitcode).name}" if failure.exitcode < 0 else "failed, as said above"
    return TrainingError(f"process {rank + 1} of {number} {how}; the others were stopped. latest.pth is as it was saved last, "
                         "and whole: continue with --resume-from auto")


@contextmanager
def joined():
    """Meet the other processes of this training, if there are any; of these, only the first one prints from here on.

    Raises:
        TrainingError: There are more processes than GPUs here, or srun started processes without GPUs.
    """
    if launcher() == "none":
        yield
        return
    import torch
    from mmengine.dist import get_rank, init_dist
    os.environ.setdefault("MKL_NUM_THREADS", os.environ.setdefault("OMP_NUM_THREADS", "1"))
    gpus, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpus:
        if here > gpus:
            raise TrainingError(f"{here} processes were started here, but there are {gpus} GPUs; start one for each, or "
                                "pass --gpu-num 0")
        init_dist(launcher(), backend="nccl")
    elif launcher() == "slurm":
        raise TrainingError("srun started several processes, and there is no GPU; on CPUs start torchrun with srun, one per "
                            "machine, and --gpu-num 0")
    else:
        torch.distributed.init_process_group("gloo")
    if get_rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  until the process ends
    try:
        yield
    finally:  # gloo's threads abort a process that ends without
        torch.distributed.destroy_process_group()


def from_first(make):
    """Call `make` in the first process and give what it returns to all; where it fails, the others end without a word."""
    from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
    if not is_distributed():
        return make()
    box = [None, True]
    try:
        if is_main_process():
            box = [make(), False]
    finally:
        broadcast_object_list(box)
    if box[1]:
        raise SystemExit(1)
    return box[0]


def end_with_parent():
    """On Linux, be killed when the process that started this one dies: it may be started again, and would train beside us."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(folder):
    """Be one of the processes that `launch` started; returns the exit code."""
    from instance_segmentation.training.train import train
    folder, rank = Path(folder), os.environ["RANK"]
    end_with_parent()
    work_dir, options, sys.orig_argv = pickle.loads((folder / "call").read_bytes())
    try:
        result = train(work_dir, **options)
    except InstSegError as error:
        (folder / f"error_{rank}").write_bytes(pickle.dumps(error))
        return 1
    except KeyboardInterrupt:
        return 130
    if rank == "0":
        (folder / "result").write_bytes(pickle.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
