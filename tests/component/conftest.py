"""Networks and configs that the component tests share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def registered():
    """mmdet's and our classes in the registries."""
    from instance_segmentation.engine import register
    register("Testing")


@pytest.fixture(scope="session", params=[480, 576])
def template_size(request):
    """Each template of the family."""
    return request.param


@pytest.fixture
def template_config(repo, template_size):
    """The Config of each template, fresh."""
    return config_of(repo, template_size)


@pytest.fixture
def config_480(repo):
    """The 480 template's Config, fresh."""
    return config_of(repo, 480)


def config_of(repo, size):
    from instance_segmentation.engine.config import read_config
    name = f"efficientnet_b2b-mask_rcnn-{size}x{size}"
    return read_config(repo / "model_templates/custom-instance-segmentation" / name / "model.py")
