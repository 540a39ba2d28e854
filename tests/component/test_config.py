"""engine/config.py: what a run's config becomes."""

import pytest

from instance_segmentation.engine.config import (
    innermost,
    set_classes,
    set_input_size,
    train_config,
    train_scales,
)
from instance_segmentation.engine.overrides import apply_overrides
from instance_segmentation.engine.schedule import set_schedule
from instance_segmentation.errors import TemplateError

pytestmark = pytest.mark.component


def pipelines(cfg):
    return [innermost(loader.dataset).pipeline for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)]


def sizes(pipeline):
    return [step.get("scale") or step.scales for step in pipeline if "Resize" in step.type]


def test_pipelines_have_the_templates_size(template_config, template_size):
    train, val, test = pipelines(template_config)
    assert template_config.input_size == (template_size, template_size)
    assert sizes(val) == sizes(test) == [(template_size, template_size)]
    assert sizes(train) == [train_scales((template_size, template_size))]
    assert len(train_scales((template_size, template_size))) == 25


def test_480_trains_on_the_original_sizes():
    assert {side for scale in train_scales((480, 480)) for side in scale} == set(range(352, 609, 32))


def test_input_size_reaches_every_pipeline(template_config):
    set_input_size(template_config, (256, 320))
    train, val, test = pipelines(template_config)
    assert sizes(val) == sizes(test) == [(320, 256)]  # mmdet writes width first
    (scales,) = sizes(train)
    assert (320, 256) in scales and all(side % 32 == 0 for scale in scales for side in scale)
    assert all(0.7 < w / 320 < 1.3 and 0.7 < h / 256 < 1.3 for w, h in scales)


@pytest.mark.parametrize("size", [(100, 100), (0, 32), (-32, 32), (32, 32, 32)])
def test_bad_input_size_names_the_flag(config_480, size):
    with pytest.raises(TemplateError, match="--input-size.*multiples of 32"):
        set_input_size(config_480, size)


def test_classes_size_both_heads(config_480):
    set_classes(config_480, ["a", "b", "c"])
    head = config_480.model.roi_head
    assert head.bbox_head.num_classes == head.mask_head.num_classes == 3


def test_schedule_follows_epochs_and_warm_up_is_a_tenth_at_most(config_480):
    set_schedule(config_480, epochs=40, iterations=10)
    warm_up, cosine = config_480.param_scheduler
    assert config_480.train_cfg.max_epochs == cosine.end == cosine.T_max == 40
    assert warm_up.end == 40
    set_schedule(config_480, epochs=40, iterations=10_000)
    assert warm_up.end == 40  # never longer than the template's, which the first call had shortened


@pytest.mark.parametrize("key, hint", [
    ("model.backbone.archh", "did you mean 'model.backbone.arch'"),
    ("modell.backbone.arch", "did you mean 'model'"),
    ("train_dataloader.dataset.tims", "did you mean 'train_dataloader.dataset.times'"),
    ("param_scheduler.7.end", "is a list of 2"),
], ids=["leaf", "root", "inside a wrapper", "list index"])
def test_misspelt_override_is_an_error(config_480, key, hint):
    with pytest.raises(TemplateError, match=hint):
        apply_overrides(config_480, {key: 1})


def test_override_may_name_an_argument_the_config_leaves_out(config_480):
    apply_overrides(config_480, {"model.backbone.drop_path_rate": 0.2, "optim_wrapper.optimizer.weight_decay": 0.0})
    assert config_480.model.backbone.drop_path_rate == 0.2


@pytest.mark.parametrize("rate, expected", [(None, 0.001), (0.5, 0.5)], ids=["recipe's rate", "rate given"])
def test_random_weights_get_their_own_recipe(config_480, tmp_path, rate, expected):
    cfg = train_config(config_480, train_json="t.json", val_json="v.json", images=10, classes=["a"], output=tmp_path, epochs=3,
                       batch_size=4, learning_rate=rate, usual_rate=0.025, start="from_random")
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ("AdamW", expected)
    assert "momentum" not in cfg.optim_wrapper.optimizer


def test_train_config_leaves_the_template_as_it_was(config_480, tmp_path):
    before = config_480.to_dict()
    cfg = train_config(config_480, train_json="t.json", val_json="v.json", images=10, classes=["a", "b c"], output=tmp_path,
                       epochs=3, batch_size=4, learning_rate=0.1, num_workers=2, seed=5)
    assert config_480.to_dict() == before
    assert cfg.train_dataloader.persistent_workers is False
    assert innermost(cfg.train_dataloader.dataset).ann_file == "t.json"
    assert cfg.val_dataloader.dataset.metainfo.classes == ("a", "b c")
    assert (cfg.optim_wrapper.optimizer.lr, cfg.randomness.seed, cfg.train_cfg.max_epochs) == (0.1, 5, 3)
