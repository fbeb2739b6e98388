"""The renderer of the sample photos."""

import numpy as np
import pytest

from tools.sample_photos import SCENES, Scene, encode_jpeg, render


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.file)
def test_scene_rendered_twice_has_equal_pixels(scene: Scene) -> None:
    first, second = (render(scene, 48, 32, samples=1) for _ in range(2))
    assert first.shape == (32, 48, 3)
    assert 0.0 <= first.min() < first.max() <= 1.0
    np.testing.assert_array_equal(first, second)


def test_jpeg_above_limit_is_refused() -> None:
    noise = np.random.default_rng(1).random((64, 64, 3))
    assert len(encode_jpeg(noise, 6_000)) <= 6_000
    with pytest.raises(ValueError, match="fits 100 bytes"):
        encode_jpeg(noise, 100)
