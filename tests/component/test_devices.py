"""Which device trains, and how the processes of a training meet and wait for the first: without a GPU."""

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import mmengine.device.utils
import pytest
import torch
from mmengine.device import get_device

from instance_segmentation.errors import TrainingError
from instance_segmentation.training import processes
from instance_segmentation.training.devices import check_own_gpu, chosen_device, say_missing_gpu

pytestmark = pytest.mark.component


def test_gpus_are_hidden_also_from_an_mmengine_that_has_seen_one(monkeypatch):
    monkeypatch.setattr(mmengine.device.utils, "DEVICE", "cuda")
    monkeypatch.setattr(mmengine.device.utils, "is_cuda_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with chosen_device(0):
        assert (get_device(), os.environ["CUDA_VISIBLE_DEVICES"]) == ("cpu", "")
    assert (get_device(), os.environ["CUDA_VISIBLE_DEVICES"]) == ("cuda", "1")
    with chosen_device(1):
        assert (get_device(), os.environ["CUDA_VISIBLE_DEVICES"]) == ("cuda", "1")


def test_a_gpu_that_is_asked_for_and_missing_is_said(monkeypatch, capsys):
    say_missing_gpu(1)
    text = " ".join(capsys.readouterr().out.split())
    assert "--gpu-num 1 asks for a GPU" in text and "training on the CPU" in text
    monkeypatch.setattr(mmengine.device.utils, "DEVICE", "cuda")
    say_missing_gpu(1)
    assert not capsys.readouterr().out


@pytest.fixture
def four_tasks(monkeypatch):
    """Process 3 of 4 that srun started on one machine, with torch's CUDA and its process group made up; what they were told."""
    told = SimpleNamespace(device=None, group=None, store=torch.distributed.HashStore())
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in dict(STEP_NUM_TASKS=4, PROCID=3, LOCALID=3, NODEID=0, STEP_TASKS_PER_NODE=4, STEP_NODELIST="localhost",
                            JOB_ID=1, STEP_ID=0).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    environ = dict(os.environ)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: setattr(told, "device", index))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: told.device)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="GPU-3"))
    monkeypatch.setattr(torch.distributed, "rendezvous", lambda *more, **named: iter([(told.store, 3, 4)]))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *more, **named: setattr(told, "group", (more, named)))
    for rank in range(3):
        told.store.set(f"gpu/{rank}", f"GPU-{rank}")
    yield told
    os.environ.clear()
    os.environ.update(environ)


@pytest.mark.parametrize("visible, device", [(1, 0), (4, 3)], ids=["its own GPU alone", "all GPUs of the machine"])
def test_a_task_of_srun_takes_its_gpu_whichever_it_sees(four_tasks, visible, device):
    assert processes._meet(visible, 1) == 3
    assert four_tasks.device == device and os.environ["LOCAL_RANK"] == str(device)
    (backend,), named = four_tasks.group
    assert backend == "nccl" and named["timeout"] >= timedelta(minutes=30) and named["store"] is four_tasks.store


def test_tasks_of_srun_train_on_cpus_when_asked_to(four_tasks):
    assert processes._meet(0, 0) == 3
    assert four_tasks.group[0] == ("gloo",) and four_tasks.device is None


@pytest.mark.parametrize("visible, asked, words", [
    (0, 1, "there is no GPU; ask for them"), (2, 1, "4 processes were started here")])
def test_tasks_of_srun_without_a_gpu_each_are_refused(four_tasks, visible, asked, words):
    with pytest.raises(TrainingError, match=words):
        processes._meet(visible, asked)
    assert four_tasks.group is None


def test_two_processes_on_one_gpu_are_refused(four_tasks):
    four_tasks.store.set("gpu/1", "GPU-3")
    with pytest.raises(TrainingError, match="process 4 and 2 of 4 have the same GPU"):
        check_own_gpu(four_tasks.store, 3, 4)


WAITING = """
import json, sys, time
from datetime import timedelta
from instance_segmentation.errors import TrainingError
from instance_segmentation.training import processes
processes.SCORING = timedelta(seconds=0.5)

def fail(error):
    raise error

def outcome(make):
    try:
        return processes.from_first(make)
    except processes.FirstFailed as failed:
        return f"FirstFailed: {failed.error}"
    except TrainingError as error:
        return f"TrainingError: {error}"

with processes.joined(0):
    found = [outcome(lambda: time.sleep(2) or 7), outcome(lambda: fail(TrainingError("no room"))),
             outcome(lambda: fail(ValueError("a bug")))]
print(json.dumps(found), file=sys.__stdout__)
"""


def test_processes_wait_for_the_first_longer_than_any_timeout_and_learn_why_it_failed(tmp_path):
    """Whichever of them is seen to end first, the reason has been written: the first one's error, or a traceback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | dict(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2", OMP_NUM_THREADS="1",
                              MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))) for rank in (0, 1)]
    (first, errors), (second, _) = (process.communicate(timeout=120) for process in started)
    assert json.loads(first) == [7, "TrainingError: no room", "FirstFailed: None"]
    assert json.loads(second) == [7, "FirstFailed: no room", "FirstFailed: None"]
    assert "ValueError: a bug" in errors
