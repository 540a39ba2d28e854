"""plots.py: the curves of a training."""

import json

from instance_segmentation.plots import training_curves, validation_losses

LINES = [dict(loss=3.0, lr=0.1, step=10), dict(loss=2.0, lr=0.1, step=20), {"segm/AP": 0.1, "val_loss": 2.5, "step": 1},
         dict(loss=1.0, lr=0.1, step=30), {"segm/AP": 0.2, "step": 2}]


def test_validation_losses_stand_at_the_step_they_were_computed_after():
    assert validation_losses(LINES) == [(20, 2.5)]


def test_curves_are_a_picture(tmp_path):
    (tmp_path / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    training_curves(tmp_path / "scalars.json", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"scalars.json", "curves.png"}
