"""What is in a run's folder before its first step, whatever was there and wherever the run begins; nothing is trained."""

import json

import pytest
import torch

from instance_segmentation.errors import TrainingError
from instance_segmentation.training.output_folder import begin_in, continue_in, occupied
from instance_segmentation.training.starting import find_start

pytestmark = pytest.mark.component
STEPS = 4  # of an epoch


def save(path, run, epoch, best=None, step=None):
    """A checkpoint as a run's at the end of an epoch, or at a step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = dict(steps_per_epoch=STEPS, **({} if best is None else dict(best_epoch=best, best_score=best / 10)))
    own = dict(run=run, classes=["a"], config=dict(model={}), input_size=[64, 64], template="t")
    torch.save(dict(meta=dict(epoch=epoch, iter=epoch * STEPS if step is None else step, seed=3, instseg=own),
                    state_dict=dict(w=torch.tensor([float(epoch)])), optimizer={}, param_schedulers=[],
                    message_hub=dict(runtime_info=info, log_scalars={})), path)


def make_run(folder, run, epochs=3, best=2):
    """A run's folder."""
    save(folder / "latest.pth", run, epochs, best)
    save(folder / "best.pth", run, best, step=best * STEPS)
    (folder / "scalars.json").write_text(json.dumps(dict(step=1, run=run)) + "\n")
    (folder / "iter_4.pth").write_text(run)


def run_in(path):
    """Run and epoch of a checkpoint; None when it is not there."""
    if not path.is_file():
        return None
    meta = torch.load(path, weights_only=True)["meta"]
    return meta["instseg"]["run"], meta["epoch"]


def resume(checkpoint, folder):
    folder.mkdir(exist_ok=True)
    return continue_in(folder, find_start(checkpoint, None, folder, False))


def test_a_fresh_run_in_an_empty_folder(tmp_path):
    assert begin_in(tmp_path, find_start(None, None, tmp_path, False)).weights is None and not list(tmp_path.iterdir())


def test_each_new_run_sets_the_one_before_aside_and_none_is_lost(tmp_path):
    for number, run in enumerate(("night", "quick test", "third"), 1):
        begin_in(tmp_path, find_start(None, None, tmp_path, False))
        make_run(tmp_path, run)
        assert len(list(tmp_path.glob("previous_*"))) == number - 1
    assert [run_in(tmp_path / f"previous_{number}" / "best.pth") for number in (1, 2)] == [("night", 2), ("quick test", 2)]
    assert (tmp_path / "previous_1/iter_4.pth").is_file() and run_in(tmp_path / "latest.pth") == ("third", 3)


def test_a_start_that_failed_before_its_first_step_leaves_nothing_behind(tmp_path):
    make_run(tmp_path, "night")
    for _ in range(3):
        begin_in(tmp_path, find_start(None, None, tmp_path, False))
        save(tmp_path / "latest.pth", "died", 0)
    assert [path.name for path in tmp_path.glob("previous_*")] == ["previous_1"]
    assert run_in(tmp_path / "previous_1/latest.pth") == ("night", 3)


def test_weights_in_the_folder_are_followed(tmp_path):
    make_run(tmp_path, "night")
    start = begin_in(tmp_path, find_start(None, tmp_path / "best.pth", tmp_path, False))
    assert start.weights == tmp_path / "previous_1/best.pth" and start.weights.is_file()


@pytest.mark.parametrize("own", ["latest.pth", "best.pth"])
def test_resumed_in_its_own_folder(tmp_path, own):
    """From latest.pth all stays; from best.pth what came later moves away, and best.pth is the best so far or found anew."""
    make_run(tmp_path, "A")
    start, has_best = resume(tmp_path / own, tmp_path)
    if own == "latest.pth":
        assert has_best and not list(tmp_path.glob("previous_*")) and start.weights == tmp_path / own
        assert run_in(tmp_path / "best.pth") == ("A", 2)
    else:
        assert has_best is None, "its validation is done again"
        assert start.weights == tmp_path / "previous_1/best.pth" and run_in(tmp_path / "previous_1/latest.pth") == ("A", 3)
        assert not (tmp_path / "best.pth").exists()
    assert '"A"' in (tmp_path / "scalars.json").read_text()


@pytest.mark.parametrize("there", ["nothing", "another run", "its own earlier state", "its own later state"])
def test_resumed_in_another_folder(tmp_path, there):
    source, folder = tmp_path / "a", tmp_path / "b"
    make_run(source, "A")
    if there == "another run":
        make_run(folder, "B", epochs=9, best=1)
    elif there != "nothing":
        make_run(folder, "A", *((2, 1) if "earlier" in there else (9, 5)))
    start, has_best = resume(source / "latest.pth", folder)
    assert has_best and start.weights == source / "latest.pth"
    assert run_in(folder / "best.pth") == ("A", 2), "of the run that goes on, and no later than it"
    assert '"A"' in (folder / "scalars.json").read_text() and run_in(source / "best.pth") == ("A", 2)
    assert run_in(folder / "previous_1/latest.pth") == {"another run": ("B", 9), "its own later state": ("A", 9)}.get(there)


def test_a_lone_checkpoint_has_no_best_but_itself(tmp_path):
    save(tmp_path / "a/latest.pth", "A", 3, best=2)
    save(tmp_path / "a/at_best.pth", "A", 2, best=2)
    assert resume(tmp_path / "a/latest.pth", tmp_path / "b")[1] is False and not (tmp_path / "b/best.pth").exists()
    assert resume(tmp_path / "a/at_best.pth", tmp_path / "c")[1] and run_in(tmp_path / "c/best.pth") == ("A", 2)
    save(tmp_path / "a/middle.pth", "A", 2, best=2, step=2 * STEPS + 1)
    assert resume(tmp_path / "a/middle.pth", tmp_path / "d")[1] is False, "these weights are one step on"


def test_a_run_that_was_set_aside_goes_on_where_it_was(tmp_path):
    make_run(tmp_path, "night")
    begin_in(tmp_path, find_start(None, None, tmp_path, False))
    make_run(tmp_path, "quick test")
    start, has_best = resume(tmp_path / "previous_1/latest.pth", tmp_path)
    assert has_best and run_in(tmp_path / "best.pth") == ("night", 2) and start.run == "night"
    assert run_in(tmp_path / "previous_2/latest.pth") == ("quick test", 3)


def test_weights_alone_cannot_be_resumed(tmp_path):
    torch.save(dict(state_dict=dict(w=torch.zeros(1)), meta={}), tmp_path / "w.pth")
    with pytest.raises(TrainingError, match="--resume-from .*w.pth: holds weights, but not the state of a run.*--load-weights"):
        find_start(tmp_path / "w.pth", None, tmp_path, False)


def test_two_at_once(tmp_path):
    refused = pytest.raises(TrainingError, match="another training is writing there .process.*--save-checkpoints-to")
    with occupied(tmp_path), refused, occupied(tmp_path):
        pass


def test_flags_that_are_left_out_stay_the_runs(tmp_path):
    save(tmp_path / "latest.pth", "A", 1)
    start = find_start(tmp_path / "latest.pth", None, tmp_path, False)
    start.own.update(batch_size=4, flags=dict(epochs=6, clip_grad=10.0, no_flip=True, frozen_stages="evil"))
    asked = dict(epochs=None, batch_size=None, base_learning_rate=None, no_flip=False, clip_grad=0, frozen_stages=None)
    assert start.kept(asked) == dict(asked, epochs=6, batch_size=4, no_flip=True)
    assert find_start(None, tmp_path / "latest.pth", tmp_path, False).kept(asked) == asked
    with pytest.raises(TrainingError, match="trained for 1 epochs; pass --epochs"):
        start.meta["epoch"], start.meta["instseg"]["classes"] = 1, ["a"]
        start.check(["a"], None, dict(epochs=0.5))
