"""run.lock.yaml, and what reads it: replay's refusals, the model card, the comparison of runs."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import yaml

from instance_segmentation.cli import main
from instance_segmentation.data.sample import write_sample_dataset
from instance_segmentation.records.comparing import differing_settings
from instance_segmentation.records.pages import markdown
from instance_segmentation.records.provenance import data_records
from instance_segmentation.records.run_lock import as_options, differences, read_lock, relocated, write_lock
from instance_segmentation.templates.workdir import instantiate, open_workdir

CLASSES = ["berry", "starfish", "stone", "washer"]
CFG_OPTIONS = {"train_dataloader.scales": [(64, 64), (96, 64)], "optim_wrapper.clip_grad": {"max_norm": 10}}


def config(output, **changes):
    """What `write_lock` reads from a run's Config."""
    return SimpleNamespace(**dict(
        work_dir=str(output), optim_wrapper=SimpleNamespace(optimizer=SimpleNamespace(type="AdamW", lr=0.001)),
        train_dataloader=SimpleNamespace(batch_size=4), randomness=SimpleNamespace(seed=7), load_from=None, resume=False,
        train_cfg=SimpleNamespace(max_epochs=3), input_size=(64, 96), instseg=SimpleNamespace(classes=CLASSES)) | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A work dir and data, to be copied by each test."""
    folder = tmp_path_factory.mktemp("made")
    instantiate("efficientnet_b2b-mask_rcnn-480x480", folder / "work", load_snapshot=False)
    write_sample_dataset(folder / "data", train=2, val=1, size_hw=(64, 96))
    return folder


@pytest.fixture
def run(made, tmp_path):
    """The output folder of a training that was locked, validated twice, and never took place."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    work, data, output = open_workdir(tmp_path / "work"), tmp_path / "data", tmp_path / "work" / "outputs"
    output.mkdir()
    (output / "start.pth").write_bytes(b"weights")
    flags = dict(train_ann_files=[data / "train.json"], train_data_roots=[data / "train"], val_ann_files=[data / "val.json"],
                 val_data_roots=[data / "val"], load_weights=output / "start.pth", resume_from="auto", batch_size="auto",
                 seed=None, num_workers=0, norm_eval=False, save_checkpoints_to=output, cfg_options=CFG_OPTIONS)
    write_lock(work, flags, config(output, load_from=str(output / "start.pth")))
    records = [dict(loss=2.0, lr=0.1, step=1), *({f"{key}{of}": value for key in ("segm/AP", "segm/AP50", "bbox/AP", "bbox/AP50")
                                                  for of in ("", *(f"/{name}" for name in CLASSES))} | dict(step=step)
                                                 for step, value in ((1, 0.25), (2, 0.125)))]
    (output / "scalars.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    return output


def test_flags_come_back_as_they_were(run):
    lock = read_lock(run)
    options = as_options(lock["flags"])
    assert options["cfg_options"] == CFG_OPTIONS and type(options["cfg_options"]["train_dataloader.scales"][0]) is tuple
    assert (options["batch_size"], options["seed"], options["num_workers"], options["norm_eval"]) == (4, 7, 0, False)
    assert options["load_weights"] == str(run / "start.pth")
    assert not options.keys() & {"save_checkpoints_to", "resume_from"}  # there was nothing to resume
    assert lock["settings"]["learning_rate"] == 0.001 and lock["versions"]["python"].count(".") == 2
    assert differences(lock, open_workdir(run.parent)) == []


def test_a_resumed_run_began_where_the_first_one_did(run):
    flags = as_options(read_lock(run)["flags"]) | dict(resume_from="auto", load_weights=None)
    (run / "latest.pth").write_bytes(b"later")
    write_lock(open_workdir(run.parent), flags, config(run, resume=True, load_from=str(run / "latest.pth")))
    lock = read_lock(run)
    assert lock["weights"]["name"] == "start.pth" and lock["flags"]["load_weights"] == str(run / "start.pth")
    assert "resume_from" not in lock["flags"]


def test_a_run_resumed_from_an_unlocked_one_begins_there(run):
    flags = as_options(read_lock(run)["flags"]) | dict(resume_from=run / "latest.pth")
    (run / "latest.pth").write_bytes(b"later")
    (run / "run.lock.yaml").unlink()
    write_lock(open_workdir(run.parent), flags, config(run, resume=True, load_from=str(run / "latest.pth")))
    lock = read_lock(run)
    assert (lock["weights"]["name"], lock["flags"]["resume_from"]) == ("latest.pth", str(run / "latest.pth"))
    assert "load_weights" not in lock["flags"]


def spoil(path):
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("change, message", [
    (lambda work: spoil(work / "model.py"), "model.py of {work} has changed"),
    (lambda work: spoil(next((work / "_base_").glob("*.py"))), r"_base_/\w+.py of {work} has changed"),
    (lambda work: spoil(work / "outputs/start.pth"), "start.pth has changed"),
    (lambda work: (work / "outputs/start.pth").unlink(), "start.pth is gone"),
    (lambda work: spoil(work.parent / "data/val.json"), "val.json: the annotations have changed"),
    (lambda work: spoil(next((work.parent / "data/train").iterdir())), "train.json: the images have changed"),
], ids=["model.py", "base", "weights", "weights gone", "annotations", "an image"])
def test_replay_refuses_what_has_changed(run, capsys, change, message):
    change(run.parent)
    assert main.main(["replay", str(run)]) == 1
    error = capsys.readouterr().err
    assert re.search(message.format(work=run.parent), error) and "--accept-changes" in error and error.count("\n  ") == 1
    assert not run.with_name("outputs_replay").exists()


def test_a_lock_chooses_neither_the_program_nor_whom_to_trust(run, capsys, monkeypatch):
    """A folder from a stranger must not get by its lock what only the command line may give."""
    lock = yaml.safe_load((run / "run.lock.yaml").read_text())
    assert "trust_checkpoint" not in as_options({**lock["flags"], "trust_checkpoint": True})
    lock["flags"]["config"] = "/elsewhere/model.py"
    (run / "run.lock.yaml").write_text(yaml.safe_dump(lock))
    assert main.main(["replay", str(run), "--accept-changes"]) == 1
    assert "a lock may not choose what is run" in capsys.readouterr().err
    assert not run.with_name("outputs_replay").exists()


def test_replay_finds_what_was_moved(run, tmp_path, capsys):
    """With the data in another place, replay names what is gone, and with --moved nothing differs."""
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert main.main(["replay", str(run)]) == 1 and "train.json" in capsys.readouterr().err
    lock = relocated(read_lock(run), [(tmp_path / "data", tmp_path / "elsewhere")])
    assert differences(lock, open_workdir(run.parent)) == []
    assert lock["flags"]["val_data_roots"] == [str(tmp_path / "elsewhere" / "val")]
    (run / "start.pth").rename(tmp_path / "start.pth")
    assert differences(relocated(lock, [(run / "start.pth", tmp_path / "start.pth")]), open_workdir(run.parent)) == []
    with pytest.raises(SystemExit):
        main.main(["replay", str(run), "--moved", "nowhere"])
    assert "expected THEN=NOW" in capsys.readouterr().err


def test_replay_of_what_was_never_locked_or_trained(run, tmp_path, capsys):
    (run / "run.lock.yaml").unlink()
    for folder, message in ((run.parent, "has no run.lock.yaml"), (tmp_path, "scalars.json is missing")):
        assert main.main(["replay", str(folder)]) == 1 and message in capsys.readouterr().err


def test_a_damaged_lock_is_said_to_be(run, capsys):
    (run / "run.lock.yaml").write_text("made: [")
    assert main.main(["card", str(run)]) == 1 and "run.lock.yaml: is damaged" in capsys.readouterr().err


def test_data_has_the_same_digest_wherever_it_lies(run, tmp_path):
    before = data_records([tmp_path / "data/train.json"], [tmp_path / "data/train"])
    (tmp_path / "data").rename(tmp_path / "moved")
    (after,) = data_records([tmp_path / "moved/train.json"], [tmp_path / "moved/train"])
    assert [{**record, "source": ""} for record in before] == [{**after, "source": ""}] and after["images"] == 2


def test_card(run, capsys):
    (run / "m.json").write_text(json.dumps(dict(
        files=[dict(name="model|x.xml", sha256="ab" * 32)], images=5, ms_per_image=12.34,
        metrics={"segm/AP": 0.5, "segm/AP50": None, "bbox/AP": 0.25, "bbox/AP50": 1})))
    for split in ("train", "val"):
        objects = [dict(category_id=1, iscrowd=0), dict(category_id=1, iscrowd=1)]
        (run / f"{split}.json").write_text(json.dumps(dict(
            categories=[dict(id=index, name=name) for index, name in enumerate(CLASSES, 1)], images=[], annotations=objects)))
    assert main.main(["card", str(run.parent), "--metrics", str(run / "m.json")]) == 0
    text = (run / "model_card.md").read_text()
    assert "3 epochs, batch 4, AdamW at 0.001, seed 7" in text and "after epoch 1" in text
    assert "| berry | 0.250 | 0.250 | 0.250 | 0.250 |" in text and "| berry | 1 | 1 |" in text
    assert r"| model\|x.xml, sha256 `abababababababab…` | 5 | 0.500 | – | 0.250 | 1.000 | 12.3 |" in text
    assert "AP is coarse: berry, starfish, stone, washer." in text
    assert main.main(["card", str(run), "--metrics", str(run / "scalars.json")]) == 1
    assert "--metrics" in capsys.readouterr().err


def test_names_mean_nothing_in_markdown():
    assert markdown("a|b <i>\n*c*") == r"a\|b \<i\> \*c\*"


def test_compare_shows_what_differs_and_draws(run, tmp_path, capsys):
    other = tmp_path / "_$other$"  # matplotlib would take the name for a formula, and hide it
    shutil.copytree(run, other)
    lock = yaml.safe_load((other / "run.lock.yaml").read_text())
    lock["settings"]["learning_rate"] = 0.01
    lock["flags"]["ema"] = True
    (other / "run.lock.yaml").write_text(yaml.safe_dump(lock))
    assert main.main(["compare", str(run), str(other), "--save-picture-to", str(tmp_path / "c.png")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"settings.learning_rate +0.001 +0.01", text) and re.search(r"flags.ema +– +True", text)
    assert re.search(r"segm/AP/washer +0.250 +0.250", text) and "batch_size" not in text
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert main.main(["compare", str(run), str(run), "--save-picture-to", str(tmp_path / "c.png")]) == 0
    assert "are the same in all" in capsys.readouterr().out
    assert main.main(["compare", str(run)]) == 1 and "two or more" in capsys.readouterr().err


def test_what_is_off_does_not_differ_from_what_is_absent():
    assert differing_settings([dict(flags=dict(ema=False, tile=0)), dict(flags=dict())]) == {"flags.tile": [0, None]}
