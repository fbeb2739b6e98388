"""The scenes, in the order of the page."""

from tools.sample_photos.film import Scene
from tools.sample_photos.scenes import pool, sunset

SCENES: tuple[Scene, ...] = (pool.SCENE, sunset.SCENE)
