"""Renders the sample photos of the page at `/`: `python -m tools.sample_photos`.

Every photo is computed: rays are traced or marched into terrain, water and solids made of
fractal noise and boxes, lit by a model of sun and sky, and developed like film. Nothing is
downloaded, and the same code gives the same pixels.
"""

from tools.sample_photos.film import Scene, encode_jpeg, render
from tools.sample_photos.scenes import SCENES

__all__ = ["SCENES", "Scene", "encode_jpeg", "render"]
