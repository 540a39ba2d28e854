"""Lengths of a model's inputs and outputs. Needs no torch."""


def is_fixed(length):
    """Whether a dimension's length is known: other values are names, None or -1."""
    return isinstance(length, int) and length > 0
