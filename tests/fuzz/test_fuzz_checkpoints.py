"""Checkpoints from strangers: pickles that run things, parts of other types, configurations that name other things, damage."""

import copy
import functools
import os
import pickle
import random
import subprocess

import pytest
import torch

from instance_segmentation.engine import register
from instance_segmentation.engine.checkpoint import read_checkpoint
from instance_segmentation.engine.config import read_config
from instance_segmentation.engine.network import identity, load_network
from instance_segmentation.templates.catalogue import find_template
from instance_segmentation.training.importing_weights import read_foreign

from .harness import run
from .test_fuzz_importers import spoilt

register("Reading checkpoints")  # what importing mmdet does to the system is not the cases' doing
TEMPLATES = ("efficientnet_b2b-mask_rcnn-480x480", "rtmdet-ins_tiny-640x640", "yolact_r50-544x544")
HOSTILE = ("os.system", "subprocess.check_output", "builtins.eval", "mmengine.Config", "torch.load", "Pretrained", "BertModel",
           "KnowledgeDistillationSingleStageDetector", "__import__('os').system", "mmdet.os.system", "", 7, None, ["ResNet"],
           {"type": "ResNet"}, "ResNet" * 1000)


@functools.cache
def content_of(template):
    """A checkpoint's content with a handful of small tensors in place of the network's."""
    found = find_template(template)
    own = identity(read_config(found.path / found.config), ["a", "b"], template)
    state = {f"backbone.layer{number}.weight": torch.rand(number + 1, 3) for number in range(4)}
    return dict(meta=dict(instseg=own, CLASSES=("a", "b"), epoch=1, iter=7, cfg="x = 1"), state_dict=state,
                optimizer=dict(state={}, param_groups=[]), message_hub=dict(log_scalars={}, runtime_info={}))


def with_hostile_types(value, rng):
    """The configuration with one to three of its types replaced."""
    value, typed = copy.deepcopy(value), []

    def walk(item):
        if isinstance(item, dict):
            typed.extend([item] if "type" in item else [])
        for part in item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else ():
            walk(part)

    walk(value)
    for place in rng.sample(typed, min(len(typed), rng.randint(1, 3))):
        place["type"] = rng.choice(HOSTILE)
        if rng.random() < 0.5:
            place.update(rng.choice([dict(command="touch ran"), dict(_scope_="os"), dict(path="ran"), dict(init_cfg=dict(
                type="Pretrained", checkpoint="http://127.0.0.1:9/x.pth"))]))
    return value


class Program:
    """Asks the reader to call something."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


PROGRAMS = ((os.system, "touch ran"), (os.mkdir, "ran"), (subprocess.check_output, ["true"]), (eval, "1"), (open, "ran", "w"),
            (exec, "import os"), (getattr, "x", "upper"), (torch.load, "x"), (__import__, "os"))


def case_pickle(seed, folder):
    """A pickle with a program in it, in torch's new and old form and as a plain .pkl."""
    rng = random.Random(seed)
    content = copy.deepcopy(content_of(rng.choice(TEMPLATES)))
    part = rng.choice([content, content["meta"], content["state_dict"], content["meta"]["instseg"], content["optimizer"]])
    part[rng.choice(["x", *part])] = Program(*rng.choice(PROGRAMS))
    path = folder / rng.choice(["a.pth", "a.pkl"])
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content, protocol=rng.choice([0, 2, 4])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.5)
    read_foreign(path) if rng.random() < 0.3 else load_network(path)


def case_parts(seed, folder):
    """Parts of other types, and types that name other things."""
    rng = random.Random(seed)
    content = copy.deepcopy(content_of(rng.choice(TEMPLATES)))
    if rng.random() < 0.5:
        content["meta"]["instseg"] = with_hostile_types(content["meta"]["instseg"], rng)
    for _ in range(rng.randrange(4)):
        key = rng.choice(list(content))
        content[key] = spoilt(content[key], rng)
    torch.save(content, folder / "a.pth")
    if rng.random() < 0.2:
        read_checkpoint(folder / "a.pth")
    found = find_template(rng.choice(TEMPLATES))
    load_network(folder / "a.pth", config=rng.choice([None, found.path / found.config]))


def case_bytes(seed, folder):
    """Files that are cut, changed or of another kind."""
    rng = random.Random(seed)
    path = folder / "a.pth"
    torch.save(content_of(rng.choice(TEMPLATES)), path, _use_new_zipfile_serialization=rng.random() < 0.5)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([0, 1, 5, 50])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < 0.3:
        content = content[:rng.randrange(len(content))]
    if rng.random() < 0.1:
        content = rng.choice([b"", b"PK\x03\x04", b"\x80\x02.", b"{}", b"\0" * 1000, bytes(content) * 2])
    path.write_bytes(content)
    read_foreign(path) if rng.random() < 0.3 else load_network(path)


@pytest.mark.parametrize("case", [case_pickle, case_parts, case_bytes], ids=lambda case: case.__name__)
def test_checkpoints_from_strangers(case, tmp_path):
    run(case, 2000, tmp_path).assert_clean()
