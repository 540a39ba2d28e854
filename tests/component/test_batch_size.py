"""--batch-size auto, and what is said when memory is exhausted."""

import pytest

from instance_segmentation.api import train
from instance_segmentation.coco import read_annotations
from instance_segmentation.engine import batch_size, fast_steps
from instance_segmentation.engine.batch_size import USABLE, extrapolate, free_memory
from instance_segmentation.engine.config import set_input_size, train_config
from instance_segmentation.errors import TrainingError
from instance_segmentation.training.train import as_training_error

from .test_resume import options, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component
GIB = 2**30


@pytest.mark.parametrize("usable, batch", [(3.9, 5), (10.0, 21), (0.5, 1)], ids=["five", "twenty-one", "too little"])
def test_the_rest_is_extrapolated(usable, batch):
    assert extrapolate({1: 2.0 * GIB, 2: 2.4 * GIB, 4: 3.2 * GIB}, usable * GIB + 0.01 * GIB)[0] == batch


def test_auto_measures_a_step_and_stays_below_the_number_of_images(work, sample_data, tmp_path, capsys, monkeypatch):  # noqa: F811
    measured = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(batch_size, "extrapolate", lambda *given: measured.append(given[0]) or extrapolate(*given))
    train(work, **options(sample_data, batch_size="auto", epochs=1, ema=False, accumulate=None), save_checkpoints_to=tmp_path)
    assert "GiB per image" in capsys.readouterr().out
    assert sorted(measured[0]) == [1, 2, 4] and 0.1 * GIB < measured[0][1] <= measured[0][4] < USABLE * free_memory()
    assert state(tmp_path)["meta"]["instseg"]["batch_size"] == 8 and state(tmp_path)["meta"]["iter"] == 1


def test_auto_tries_the_steps_that_training_takes(config_480, sample_data, tmp_path, monkeypatch):
    """In bfloat16 an image takes two thirds of float32's memory."""
    told = []
    monkeypatch.setattr(fast_steps, "hasten", lambda model, device, **chosen: told.append((device, chosen)))
    truth = read_annotations([sample_data / "val.json"], [sample_data / "val"])
    written = truth.write(tmp_path / "train.json", masks="polygon")
    set_input_size(config_480, (64, 64))
    cfg = train_config(config_480, train_json=written, val_json=written, images=4, classes=truth.classes, output=tmp_path,
                       epochs=1, batch_size=1, precision="float32", start="from_random")
    batch_size.trial(cfg, "cpu")
    assert told == [("cpu", dict(precision="float32"))]


@pytest.mark.parametrize("error", [
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
    MemoryError(),
], ids=["CUDA", "allocator", "loader", "Python"])
def test_exhausted_memory_names_the_remedy(error, tmp_path):
    mended = as_training_error(error, 8, tmp_path)
    assert isinstance(mended, TrainingError)
    for remedy in ("--batch-size 8", "--batch-size auto", "--input-size", "--num-workers", "--resume-from auto"):
        assert remedy in str(mended)


def test_another_error_stays_what_it_is(tmp_path):
    error = RuntimeError("shapes differ")
    assert as_training_error(error, 8, tmp_path) is error
