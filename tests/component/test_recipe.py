"""Every flag of the recipe has its effect."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from instance_segmentation.api import list_templates, train
from instance_segmentation.cli.train import parser
from instance_segmentation.engine.config import innermost, read_config, train_config
from instance_segmentation.engine.early_stop import StopWithoutProgress
from instance_segmentation.engine.network import build_network
from instance_segmentation.errors import TemplateError
from instance_segmentation.training.starting import Start, find_start

from .test_resume import options, state, work  # noqa: F401  the fixture

pytestmark = pytest.mark.component


def configured(cfg, **changes):
    """The config of a run of 100 images."""
    return train_config(cfg, **dict(train_json="t.json", val_json="v.json", images=100, classes=["a"], output="o", epochs=10,
                                    batch_size=8, usual_rate=0.025, usual_batch=8) | changes)


@pytest.mark.parametrize("changes, rate", [
    (dict(), 0.025),
    (dict(batch_size=4), 0.0125),
    (dict(batch_size=4, accumulate=4), 0.05),
    (dict(batch_size=4, learning_rate=0.3), 0.3),
    (dict(start="from_random", batch_size=4), 0.001),
    (dict(start="from_random", batch_size=16), 0.002),
], ids=["the template's batch", "half of it", "accumulated", "rate given", "AdamW", "AdamW, four times the batch"])
def test_rate_follows_the_batch(config_480, changes, rate):
    assert configured(config_480, **changes).optim_wrapper.optimizer.lr == pytest.approx(rate)


def test_flags_reach_the_config(config_480):
    cfg = configured(config_480, accumulate=3, clip_grad=5.0, no_flip=True, save_every_minutes=2.0, max_rollbacks=0, ema=True)
    assert (cfg.optim_wrapper.accumulative_counts, cfg.optim_wrapper.clip_grad.max_norm) == (3, 5.0)
    assert "RandomFlip" not in str(innermost(cfg.train_dataloader.dataset).pipeline)
    assert "RandomFlip" in str(innermost(configured(config_480).train_dataloader.dataset).pipeline)
    assert (cfg.default_hooks.checkpoint.every_minutes, cfg.train_cfg.max_rollbacks) == (2.0, 0)
    (average,) = [hook for hook in cfg.custom_hooks if hook.type == "EMAHook"]
    assert average.momentum == pytest.approx(10 / (10 * 38))  # a tenth of ten epochs of three passes over 100 images


def test_a_rate_in_model_py_is_not_overridden_in_silence(config_480):
    config_480.optim_wrapper.optimizer.lr = 0.01
    with pytest.raises(TemplateError, match="model.py.*0.01.*template.yaml is 0.025.*--base-learning-rate"):
        configured(config_480)
    assert configured(config_480, learning_rate=0.3).optim_wrapper.optimizer.lr == 0.3
    assert configured(config_480, start="from_backbone", batch_size=4).optim_wrapper.optimizer.lr == pytest.approx(0.001)
    config_480.train_dataloader.batch_size = 16  # another model.py knows its own batch
    assert configured(config_480, usual_rate=None, usual_batch=None).optim_wrapper.optimizer.lr == pytest.approx(0.005)


@pytest.mark.parametrize("template", list_templates(), ids=lambda template: template.name)
def test_template_and_model_state_the_same_rate(template):
    cfg = read_config(template.path / template.config)
    assert cfg.optim_wrapper.optimizer.lr == template.hyper_parameters.basic.base_learning_rate


@pytest.mark.parametrize("changes, norm_eval, rgb", [
    (dict(), False, False),
    (dict(start="from_backbone"), True, True),
    (dict(start="from_backbone", norm_eval=False, normalisation="caffe"), False, False),
    (dict(normalisation="inception", norm_eval=True), True, True),
], ids=["template", "backbone alone", "flags go first", "flags alone"])
def test_normalisation(config_480, changes, norm_eval, rgb):
    model = configured(config_480, **changes).model
    assert (model.backbone.norm_eval, model.data_preprocessor.bgr_to_rgb) == (norm_eval, rgb)
    built = build_network(configured(config_480, **changes), ["a"])
    built.train()
    assert built.backbone.layers[3][0].linear_conv.bn.training is not norm_eval


def test_a_backbones_own_rate_is_lower(config_480):
    cfg = configured(config_480, start="from_backbone", batch_size=4)
    optimizer = build_optim_wrapper(build_network(cfg, ["a"]), cfg.optim_wrapper).optimizer
    assert {round(group["lr"], 6) for group in optimizer.param_groups} == {0.001, 0.0001}


@pytest.mark.parametrize("parts, expected", [
    ({"backbone"}, "from_backbone"), ({"backbone", "head"}, "from_backbone"), ({"backbone", "neck", "rpn_head"}, None),
], ids=["backbone", "with a classifier", "detector"])
def test_weights_choose_the_recipe(config_480, parts, expected):
    assert Start("w.pth", False, {}, frozenset(parts)).recipe(config_480) == expected
    assert Start("w.pth", True, dict(instseg=dict(start="from_random")), frozenset(parts)).recipe(config_480) == "from_random"
    assert Start(None, False, {}).recipe(config_480) == "from_random"
    config_480.pop("from_random")
    assert Start(None, False, {}).recipe(config_480) is None


def test_frozen_stages_do_not_learn(config_480):
    model = build_network(configured(config_480, frozen_stages=3), ["a"])
    model.train()
    for index, stage in enumerate(model.backbone.layers):
        assert all(parameter.requires_grad == (index >= 3) for parameter in stage.parameters())
        assert all(layer.training == (index >= 3) for layer in stage.modules())


def test_too_many_frozen_stages_name_the_flag(config_480):
    with pytest.raises(TemplateError, match="--frozen-stages: got 7, EfficientNet has 6"):
        configured(config_480, frozen_stages=7)


@pytest.mark.parametrize("epoch, best, stops", [(2, None, False), (3, None, True), (5, 3, False), (6, 3, True)])
def test_patience_counts_from_the_best_epoch(epoch, best, stops):
    runner = SimpleNamespace(epoch=epoch, train_loop=SimpleNamespace(stop_training=False), message_hub=SimpleNamespace(
        runtime_info={} if best is None else dict(best_epoch=best)))
    StopWithoutProgress(patience=3).after_val_epoch(runner)
    assert runner.train_loop.stop_training is stops


def test_a_run_with_negatives_stops_early_and_logs_its_validation_loss(work, sample_data, tmp_path, capsys):  # noqa: F811
    truth = json.loads((sample_data / "train.json").read_text())
    empty = {image["id"] for image in truth["images"][:4]}
    truth["annotations"] = [entry for entry in truth["annotations"] if entry["image_id"] not in empty]
    (tmp_path / "train.json").write_text(json.dumps(truth))
    nothing_found = options(sample_data)["cfg_options"] | {"model.test_cfg.rcnn.score_thr": 1.1}
    train(work, **options(sample_data, train_ann_files=[tmp_path / "train.json"], epochs=9, batch_size=8, keep_empty=True,
                          early_stop=1, ema=False, accumulate=None, cfg_options=nothing_found),
          save_checkpoints_to=tmp_path / "o")
    text = capsys.readouterr().out
    assert "4 images without objects" in text and "--early-stop" in text and "val loss" in text
    meta = state(tmp_path / "o")["meta"]
    assert (meta["epoch"], meta["iter"]) == (2, 2)  # all eight images in every step; AP is 0 after the first epoch and the second
    lines = [json.loads(line) for line in (tmp_path / "o/scalars.json").read_text().splitlines()]
    losses = [line for line in lines if "val_loss" in line]
    assert len(losses) == 2
    assert losses[0]["val_loss"] == pytest.approx(sum(value for key, value in losses[0].items() if key.startswith("loss_")))
    assert losses[0]["loss_mask"] > 0 and losses[0]["loss_rpn_cls"] > 0


def test_a_backbone_alone_is_trained_with_its_recipe_and_remembers_its_normalisation(work, sample_data, tmp_path, capsys):  # noqa: F811
    cfg = read_config(work / "model.py")
    backbone = build_network(cfg, ["a"]).backbone.state_dict()
    torch.save({f"backbone.{name}": tensor for name, tensor in backbone.items()}, tmp_path / "b.pth")
    train(work, **options(sample_data, load_weights=tmp_path / "b.pth", epochs=1, ema=False, accumulate=None),
          save_checkpoints_to=tmp_path / "o")
    text = capsys.readouterr().out
    assert "a backbone alone" in text and "from_backbone" in text and "AdamW" in text
    own = state(tmp_path / "o")["meta"]["instseg"]
    assert (own["start"], own["augment"], own["balance_classes"]) == ("from_backbone", "heavy", True)
    latest = find_start(None, tmp_path / "o/latest.pth", tmp_path, trust=False)
    assert latest.recipe(cfg) is None and latest.normalisation["bgr_to_rgb"] is True
    resumed = find_start("auto", None, tmp_path / "o", trust=False)
    assert resumed.recipe(cfg) == "from_backbone"


def test_help_names_every_flag():
    text = parser().format_help()
    for flag in ("--augment", "--balance-classes", "--normalisation", "--norm-eval", "--accumulate", "--clip-grad",
                 "--frozen-stages", "--ema", "--early-stop", "--no-flip", "--keep-empty",
                 "--save-every-minutes", "--max-rollbacks", "--resume-from", "--batch-size"):
        assert f"  {flag}" in text, flag
