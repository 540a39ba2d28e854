"""`--cfg-options` from the shell to the config."""

import argparse

import pytest

from instance_segmentation.cli.options import add_cfg_options
from instance_segmentation.engine.overrides import apply_overrides
from instance_segmentation.errors import TemplateError

pytestmark = pytest.mark.component


def parsed(*pairs):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(["--cfg-options", *pairs]).cfg_options


def test_values_of_every_kind():
    found = parsed("a.b=[32,56]", "c={'x': [1, 2], 'y': None}", "d=[{'e': (1, 2)}]", "f='two words'", "g=1e-3", "h=(1,2)",
                   "i=1,2")
    assert found == {"a.b": [32, 56], "c": {"x": [1, 2], "y": None}, "d": [{"e": (1, 2)}], "f": "two words", "g": 0.001,
                     "h": (1, 2), "i": [1, 2]}


@pytest.mark.parametrize("pair", ["model", "=3", "a={type: SGD}", "a={'b': 1"])
def test_a_wrong_pair_is_named(pair, capsys):
    with pytest.raises(SystemExit):
        parsed(pair)
    assert "--cfg-options: got" in capsys.readouterr().err


def test_dicts_are_merged_or_replace(config_480):
    apply_overrides(config_480, parsed("optim_wrapper={'optimizer': {'lr': 0.5}}",
                                       "train_cfg={'_delete_': True, 'type': 'EpochBasedTrainLoop', 'max_epochs': 2}"))
    assert config_480.optim_wrapper.optimizer.lr == 0.5 and config_480.optim_wrapper.optimizer.momentum == 0.9
    assert config_480.train_cfg == dict(type="EpochBasedTrainLoop", max_epochs=2)


def test_a_misspelt_key_inside_a_dict_is_an_error(config_480):
    with pytest.raises(TemplateError, match="did you mean 'optim_wrapper.optimizer'"):
        apply_overrides(config_480, parsed("optim_wrapper={'optimiser': {'lr': 0.5}}"))
