"""Correction of GIF files around Pillow, which decodes their pixels."""

from PIL import Image


def clear_outside_frame(image: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    """Return an image that is white outside its first frame, where browsers show nothing.

    Pillow fills the rest of the canvas with the background colour, which browsers ignore.

    Args:
        image: mode RGB, with the size of the canvas.
        frame: left, upper, right and lower edge of the first frame, in pixels.
    """
    if frame == (0, 0, *image.size):
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.crop(frame), frame)
    return canvas
