"""One work dir, trained once per session through the real command line, and what follows from it."""

import json
import shutil

import pytest

from instance_segmentation.cli import eval as eval_verb
from instance_segmentation.cli import export as export_verb
from instance_segmentation.cli import new as new_verb
from instance_segmentation.cli import train as train_verb

from ..conftest import real_data

TEMPLATE = "efficientnet_b2b-mask_rcnn-480x480"
TINY = ["--input-size", "96", "128", "--batch-size", "4", "--num-workers", "0", "--seed", "1"]
# a few steps teach nothing, so the boxes that the untrained heads propose have to pass
OPTIONS = ["--cfg-options", "train_dataloader.dataset.times=1", "model.test_cfg.rcnn.score_thr=0.0"]


def data_flags(folder, *splits):
    """`--train-ann-files …` and so on for a folder with train.json, val.json, train/, val/."""
    flags = []
    for split in splits:
        source = "val" if split == "test" else split
        flags += [f"--{split}-ann-files", str(folder / f"{source}.json"), f"--{split}-data-roots", str(folder / source)]
    return flags


@pytest.fixture(scope="session")
def few_photos(tmp_path_factory, request):
    """train.json, val.json, train/, val/: 8 and 4 of cvtk's strawberry photos where real photos are, drawn images elsewhere."""
    if real_data() is None:
        return request.getfixturevalue("sample_data")
    folder, source = tmp_path_factory.mktemp("photos"), real_data() / "strawberry"
    for split, count in (("train", 8), ("val", 4)):
        document = json.loads((source / "annotations" / f"instances_{split}.json").read_text())
        document["images"] = document["images"][:count]
        kept = {image["id"]: image["file_name"] for image in document["images"]}
        document["annotations"] = [item for item in document["annotations"] if item["image_id"] in kept]
        (folder / f"{split}.json").write_text(json.dumps(document))
        (folder / split).mkdir()
        for name in kept.values():
            shutil.copy(source / "images" / name, folder / split / name)
    return folder


@pytest.fixture(scope="session")
def work_dir(tmp_path_factory):
    """An instantiated work dir; its path has a space and an umlaut."""
    folder = tmp_path_factory.mktemp("work") / "mein Modell ü"
    assert new_verb.main([TEMPLATE, str(folder), "--do-not-load-snapshot"]) == 0
    return folder


@pytest.fixture(scope="session")
def trained(work_dir, sample_data):
    """The work dir after two tiny epochs."""
    assert train_verb.main([*data_flags(sample_data, "train", "val"), "--epochs", "2", *TINY, *OPTIONS,
                            "--report", str(work_dir / "outputs/report.html")], work_dir) == 0
    return work_dir


@pytest.fixture(scope="session")
def evaluated(trained, sample_data):
    """The work dir after eval.py of the checkpoint, with pictures and results."""
    assert eval_verb.main(["--load-weights", str(trained / "outputs/latest.pth"), *data_flags(sample_data, "test"),
                           "--save-metrics-to", str(trained / "metrics.yaml"), "--save-output-to", str(trained / "pictures"),
                           "--save-results-to", str(trained / "results.json"), "--num-workers", "0",
                           "--report", str(trained / "report.html")], trained) == 0
    return trained


@pytest.fixture(scope="session")
def exported(trained, sample_data):
    """The work dir after export.py with its parity gate on the validation images."""
    assert export_verb.main(["--load-weights", str(trained / "outputs/latest.pth"), "--save-model-to", str(trained / "export"),
                             *data_flags(sample_data, "test")], trained) == 0
    return trained
