"""OpenVINO's core, once per process. Needs no torch."""

from functools import cache


@cache
def core():
    """The process's one ov.Core.

    It lives as long as the process: OpenVINO's CPU plugin gives the thread that loads it a larger signal stack, and frees that
    stack with the last Core, in whatever thread the garbage collector runs by then. The next signal, for example from a data
    loader's process that ends, would kill the first thread.
    """
    import openvino as ov
    return ov.Core()
