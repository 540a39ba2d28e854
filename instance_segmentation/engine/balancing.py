"""Class-balanced sampling (`--balance-classes`)."""

from collections import Counter

import torch
from mmengine.registry import DATA_SAMPLERS

from instance_segmentation.engine.seeding import SeededSampler


@DATA_SAMPLERS.register_module()
class BalancedSampler(SeededSampler):
    """A SeededSampler that shows images of rare classes more often, in epochs of the same length.

    An image comes up in proportion to its weight, see `image_weights`; the numbers of times are rounded up or down at random.
    """

    def __init__(self, dataset, **named):
        super().__init__(dataset, **named)
        images = len(dataset) // dataset.times
        weights = image_weights([{instance["bbox_label"] for instance in dataset.get_data_info(index)["instances"]}
                                 for index in range(images)])
        self.upper_ends = torch.tensor(weights, dtype=torch.float64).repeat(dataset.times).cumsum(0)

    def __iter__(self):
        chosen = self.choose()
        for place, numbers in super().__iter__():
            yield chosen[place], numbers

    def choose(self):
        """This epoch's images, as many as the dataset has, in ascending order: systematic sampling."""
        count = len(self.upper_ends)
        start = torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        points = (torch.arange(count, dtype=torch.float64) + start) * (self.upper_ends[-1] / count)
        return torch.searchsorted(self.upper_ends, points).clamp(max=count - 1).tolist()


def image_weights(classes_per_image):
    """How often to show each image: sqrt(f_max / f) of its rarest class, whose share of the images is f; 1 without objects.

    Repeat factor sampling (Gupta et al. 2019, arXiv 1908.03195) with the most frequent class as the threshold.
    """
    images = Counter(label for labels in classes_per_image for label in labels)
    most = max(images.values(), default=1)
    return [max(((most / images[label]) ** 0.5 for label in labels), default=1.0) for labels in classes_per_image]
