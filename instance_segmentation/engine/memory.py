"""Keep memory that tensors freed inside the process instead of giving it back to the kernel after every layer."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory():
    """Tell glibc to serve large blocks from its heap and never to trim it; does nothing elsewhere.

    By default each activation of a few megabytes is a fresh mapping whose pages the kernel zeroes one by one when they
    are first touched, at every step again. On virtual machines that can take longer than the arithmetic.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 2**28)
