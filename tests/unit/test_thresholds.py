"""Best-F1 score thresholds, worked out by hand, and filtering by them."""

import numpy as np
import pytest

from instance_segmentation.ir.thresholds import best_f1, thresholds
from instance_segmentation.prediction import Prediction


def best(scores, hits, objects, lowest=0.0):
    return best_f1(np.array(scores, float), np.array(hits, bool), objects, lowest)


def test_halfway_between_the_last_kept_and_the_first_dropped():
    """Hits at 0.9 and 0.6 of 3 objects: F1 2/4, 2/5, 4/6, 4/7."""
    found = best([0.6, 0.9, 0.2, 0.7], [True, True, False, False], 3)
    assert found == pytest.approx((0.4, 2 / 3, 2 / 3, 2 / 3))


def test_equal_scores_stay_together():
    """Without the tie rule 0.9 and one of the two at 0.5 would give a perfect F1."""
    assert best([0.9, 0.5, 0.5], [True, True, False], 2) == pytest.approx((0.25, 2 / 3, 1.0, 0.8))


def test_all_detections_wanted():
    assert best([0.4, 0.3], [True, True], 2, lowest=0.05) == pytest.approx((0.175, 1.0, 1.0, 1.0))


@pytest.mark.parametrize(("scores", "hits", "objects"), [([], [], 0), ([], [], 4), ([0.9], [False], 0), ([0.9], [False], 4)])
def test_without_a_hit_there_is_no_threshold(scores, hits, objects):
    assert best(scores, hits, objects) is None


def test_all_classes_together_and_each():
    matches = [(np.array([0.9, 0.1]), np.array([True, False]), 1), (np.array([0.3]), np.array([True]), 1),
               (np.array([0.8]), np.array([False]), 0)]
    together, (first, second, third) = thresholds(matches)
    assert together == pytest.approx((0.2, 2 / 3, 1.0, 0.8))
    assert first.score == pytest.approx(0.5) and second.score == pytest.approx(0.15) and third is None


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, [0, 1]), ((0.8, 0.2), [0, 2]), (0.0, [0, 1, 2])])
def test_prediction_above_one_number_or_one_per_class(threshold, kept):
    scores = np.array([0.9, 0.6, 0.3], np.float32)
    found = Prediction(np.zeros((3, 4), np.float32), scores, np.array([0, 0, 1]), ["r"] * 3, ("a", "b"), (8, 8)).above(threshold)
    assert found.scores.tolist() == scores[kept].tolist()
