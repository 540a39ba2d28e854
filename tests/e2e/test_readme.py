"""The README's tutorial, command by command, on the strawberry photos."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
QUICK = "--input-size 128 --epochs 1 --batch-size 4 --num-workers 0 --cfg-options train_dataloader.dataset.times=1"
LONGER = "--input-size 256 --epochs 6 --batch-size 4 --seed 0"


def tutorial(repo):
    """The bash blocks between `## Tutorial` and the next heading."""
    text = (repo / "README.md").read_text()
    section = re.search(r"## Tutorial.*?(?=\n## )", text, re.DOTALL)[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 7, "seven steps"
    return blocks


def adapted(blocks, data, work_dir, training_flags):
    """The same commands without set-up and download, with this machine's folders and a short training."""
    script = "\n".join(blocks[1:])
    for pattern, replacement in (
            (r"export WORK_DIR=.*", f"export WORK_DIR='{work_dir}'"), (r"export DATA=.*", f"export DATA='{data}'"),
            (r"(instantiate_template\.py .*)", r"\1 --do-not-load-snapshot"), (r"   --load-weights \S*snapshot\.pth \\\n", ""),
            (r"(--classes \S+)", rf"\1 {training_flags}")):
        script, count = re.subn(pattern, replacement, script)
        assert count == 1, pattern
    return "set -e\n" + script.replace("${WORK_DIR}/outputs/best.pth", "${WORK_DIR}/outputs/latest.pth")


@pytest.mark.parametrize("flags", [QUICK, pytest.param(LONGER, marks=pytest.mark.nightly)], ids=["quick", "longer"])
def test_tutorial_runs_as_printed(repo, data_root, tmp_path, flags):
    work_dir = tmp_path / "my model"
    script = adapted(tutorial(repo), data_root / "strawberry", work_dir, flags)
    script = re.sub(r"(?<!['=])\$\{(\w+)\}(/[\w./]*)?", r'"${\1}\2"', script)  # the test's folder has a space, the README's none
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    result = subprocess.run(["bash", "-c", script], cwd=repo, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "parity on 9 images" in result.stdout
    assert len(list((work_dir / "pictures").iterdir())) == 10
    ir = json.loads((work_dir / "metrics.json").read_text())
    assert ir["files"][0]["name"] == "model.bin" and ir["classes"] == ["flower", "green_fruit", "red_fruit"]
    checkpoint = json.loads((work_dir / "metrics_checkpoint.json").read_text())
    for key in ("bbox/AP", "segm/AP"):
        assert abs(checkpoint["metrics"][key] - ir["metrics"][key]) <= 0.001
