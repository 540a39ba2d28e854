"""Every template trains, predicts and validates on a pretended GPU, on which tensors of two devices do not mix.

The three smallest of the families here, the other templates at night.
"""

import json
import math
import os
import subprocess
import sys

import pytest

from instance_segmentation.templates.catalogue import list_templates
from tests.component.pretended_gpu import STAGES

pytestmark = pytest.mark.component
QUICK = ("efficientnet_b2b-mask_rcnn-480x480", "rtmdet-ins_tiny-640x640", "instance-segmentation-security-1039")
SLOW = sorted({template.name for template in list_templates()} - set(QUICK))
EXPORTED = ("exported:ExportedDetector", "exported:TestedDetector")


def on_pretended_gpu(repo, names):
    """What `pretended_gpu` prints about each (template, stage)."""
    process = subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.component.pretended_gpu", *names], cwd=repo,
                             capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS="1"))
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return {(line["template"], line["stage"]): line for line in lines}


@pytest.fixture(scope="module")
def quick(repo):
    return on_pretended_gpu(repo, [*QUICK, *EXPORTED])


@pytest.fixture(scope="module")
def slow(repo):
    return on_pretended_gpu(repo, SLOW)


def check(found, template, stage):
    """It raised nothing, and what it computed are numbers."""
    line = found[template, stage]
    assert "error" not in line, line["error"]
    assert line["numbers"] and all(map(math.isfinite, line["numbers"].values()))
    assert stage != "predict" or line["numbers"]["found"] > 0 or "yolact" in template  # random weights' background wins there
    assert not stage.startswith("train") or line["waits"] > 0  # its losses are read: waiting is seen


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("template", QUICK)
def test_no_tensor_is_on_the_wrong_device(quick, template, stage):
    check(quick, template, stage)


@pytest.mark.parametrize("kind", EXPORTED)
def test_an_exported_model_takes_its_images_off_the_gpu(quick, kind):
    check(quick, kind, "predict")


def test_nms_level_by_level_is_left_to_cpus(quick):
    """On a GPU each level would wait for the last one's end."""
    assert quick[QUICK[0], "train with objects"]["waits"] < 62


@pytest.mark.nightly
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("template", SLOW)
def test_no_tensor_is_on_the_wrong_device_in_larger_networks(slow, template, stage):
    check(slow, template, stage)
