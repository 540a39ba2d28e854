"""OpenVINO operations as the exported graphs use them: plain numbers and lists as arguments."""

import numpy as np
from openvino import opset13 as op


def const(value, dtype=None):
    """A constant; integers become i64."""
    value = np.asarray(value, dtype)
    return op.constant(value.astype(np.int64) if value.dtype.kind == "i" else value)


def split(boxes, axis):
    """The four coordinates along `axis`, each with that axis kept."""
    return op.split(boxes, const(axis), 4).outputs()


def columns(table, start, stop):
    """Columns start…stop of a 2-D table."""
    return op.slice(table, const([start]), const([stop]), const([1]), const([1])).output(0)


def first(rows, count):
    """The first `count` rows, or all when there are fewer."""
    return op.slice(rows, const([0]), const([count]), const([1]), const([0]))


def take(values, index, axis=0):
    """Entries of `values` along `axis`."""
    return op.gather(values, index, const(axis))


def length(values):
    """Number of rows, a scalar."""
    return take(op.shape_of(values, "i64"), const(0))


def where(condition):
    """Indices [n] at which a 1-D condition holds."""
    return op.squeeze(op.non_zero(condition, "i64"), const([0]))


def larger_than(boxes, size):
    """Indices of the boxes [n, 4] whose width and height are above `size`."""
    x1, y1, x2, y2 = split(boxes, 1)
    smaller_side = op.squeeze(op.minimum(op.subtract(x2, x1), op.subtract(y2, y1)), const([1]))
    return where(op.greater(smaller_side, const(size, np.float32)))
