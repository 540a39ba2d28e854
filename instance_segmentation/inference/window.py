"""A window on the screen, where there is one. Needs no torch."""

import os
import subprocess
import sys

import cv2

QUIT = {27, ord("q"), ord("Q")}
TITLE = "instseg demo"


def why_no_window():
    """Why no window can be opened here, in words; empty when it can.

    OpenCV's window library ends the whole process when it finds no display, so another process tries first.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    trial = subprocess.run([sys.executable, "-c", "import cv2; cv2.namedWindow('trial'); cv2.waitKey(1)"], capture_output=True)
    if trial.returncode == 0:
        return ""
    if b"not implemented" in trial.stderr:
        return "the installed OpenCV has no windows (for windows: pip install --force-reinstall --no-deps opencv-python)"
    return "the display cannot be opened"


def show(image, delay_ms=1, title=TITLE):
    """Show a picture.

    Args:
        image: (H, W, 3) uint8 BGR.
        delay_ms: How long to wait for a key in milliseconds; 0 waits for ever.
        title: Of the window.

    Returns:
        The key's code, -1 for none; 27 when the window was closed.
    """
    cv2.imshow(title, image)
    key = cv2.waitKey(delay_ms)
    return key if cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) else 27
