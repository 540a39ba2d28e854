"""PixelLib's PyTorch side."""
