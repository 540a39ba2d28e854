"""INT8 of a trained network: the sample data set, the quickstart's recipe. Long; run by hand (nightly)."""

import pytest

from instance_segmentation import api
from instance_segmentation.data.sample import write_sample_dataset

from .conftest import TEMPLATE

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


def test_int8_holds_the_accuracy_of_a_trained_network(tmp_path):
    """At most 0.01 segm AP below FP32, faster, smaller; and eval.py finds the AP that the table shows."""
    data = write_sample_dataset(tmp_path / "data", train=60, val=20)
    work_dir = api.instantiate(TEMPLATE, tmp_path / "work", load_snapshot=False)
    split = {name: dict(ann_files=[data / f"{name}.json"], data_roots=[data / name]) for name in ("train", "val")}
    both = {f"{name}_{key}": value for name, flags in split.items() for key, value in flags.items()}
    trained = api.train(work_dir, **both, input_size=(192, 192), epochs=6, batch_size=4, seed=0)
    result = api.compress(work_dir, load_weights=trained.best, save_model_to=work_dir / "int8", **both)
    fp32, _, int8 = result.variants
    assert fp32.segm_ap > 0.2
    assert fp32.segm_ap - int8.segm_ap <= 0.01
    assert int8.timing.size_mb < 0.5 * fp32.timing.size_mb
    again = api.evaluate(work_dir, load_weights=result.path, test_ann_files=[data / "val.json"], test_data_roots=[data / "val"],
                         save_metrics_to=work_dir / "int8.yaml")
    assert again.metrics["segm/AP"] == pytest.approx(int8.segm_ap, abs=1e-4)
