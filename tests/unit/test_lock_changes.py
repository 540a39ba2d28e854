"""What is different between two locks of a run."""

import copy
import json

from instance_segmentation.records.lock_changes import changes

DATA = dict(source="/d/train.json", sha256="a", images_sha256="b", images=10)
LOCK = dict(data=dict(train=[DATA], val=[DATA]), template=dict(name="t", files={"model.py": "1"}),
            settings=dict(epochs=2, learning_rate=0.001, classes=["a"]),
            flags=dict(epochs=2, clip_grad=10.0, train_ann_files=["/d/train.json"], num_workers=0))


def test_the_same_is_no_change_wherever_it_lies():
    now = copy.deepcopy(LOCK)
    now["flags"] |= dict(train_ann_files=["/e/train.json"], num_workers=8, no_flip=False)
    assert changes(LOCK, now) == []


def test_every_kind_of_change_is_said():
    now = json.loads(json.dumps(LOCK))  # nothing in it is shared
    now["data"]["train"][0]["images_sha256"] = "c"
    now["data"]["val"][0]["sha256"] = "c"
    now["template"]["files"] = {"model.py": "2"}
    now["settings"] |= dict(epochs=6, learning_rate=0.0005)
    del now["flags"]["clip_grad"]
    assert changes(LOCK, now) == [
        "/d/train.json: other images (10 then, 10 now)", "/d/train.json: other val annotations than /d/train.json had",
        "model.py of the work dir", "epochs 6, was 2", "learning rate 0.0005, was 0.001", "--clip-grad not given, was 10"]


def test_more_annotation_files():
    now = copy.deepcopy(LOCK)
    now["data"]["train"].append(DATA)
    assert changes(LOCK, now) == ["train data: 2 annotation files instead of 1"]
