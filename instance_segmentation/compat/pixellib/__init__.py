"""PixelLib's name, for programs written for it; what is behind it is `instance_segmentation.pixellib`."""
