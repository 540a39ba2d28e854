"""Read a pickle of arrays and plain containers without running anything that it asks for."""

import collections
import pickle

import numpy as np

from instance_segmentation.errors import WeightsError


def read_plain_pickle(path):
    """Read a .pkl of NumPy arrays in dicts, lists and tuples, as Detectron and Detectron2 publish their weights.

    Args:
        path: A pickle of Python 2 or 3.

    Returns:
        What it holds.

    Raises:
        WeightsError: It asks for anything else, which is named, or is no whole pickle.
    """
    try:
        with open(path, "rb") as file:
            return PlainUnpickler(file, encoding="latin1").load()  # Python 2's bytes become text
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # a damaged file makes the parts of a pickle fail in any way
        what = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{path}: not a whole pickle of arrays ({what}); download it again") from error


class PlainUnpickler(pickle.Unpickler):
    """Knows what arrays are made of and refuses every other name."""

    def find_class(self, module, name):
        """The object of a name, or WeightsError; NumPy's modules were called `numpy.core` before 2.0."""
        known = PARTS.get((module.replace("numpy.core", "numpy._core"), name))
        if known is None:
            raise WeightsError(f"refused, because reading it could run code: it asks for {module}.{name}. Only arrays in dicts "
                               "and lists are read; let its tool save the weights as .pth with torch.save")
        return known

    def persistent_load(self, pid):
        """Refuse what lies outside the pickle."""
        raise WeightsError("refused: it refers to data outside the pickle; is it a torch file? Then name it .pth")


def _latin1(text, encoding):
    """How Python 3 pickles bytes for Python 2: as text, to be encoded when read."""
    if encoding != "latin1":
        raise WeightsError(f"refused: it asks for the encoding {encoding}, expected latin1")
    return text.encode("latin1")


def _parts():
    from numpy._core import multiarray, numeric
    return {("numpy._core.multiarray", "_reconstruct"): multiarray._reconstruct,
            ("numpy._core.multiarray", "scalar"): multiarray.scalar,
            ("numpy._core.numeric", "_frombuffer"): numeric._frombuffer,
            ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
            ("collections", "OrderedDict"): collections.OrderedDict, ("_codecs", "encode"): _latin1}


PARTS = _parts()
