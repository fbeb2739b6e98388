"""Writes the sample photos and their index: `python -m tools.sample_photos [FILE...]`."""

import json
import sys
from pathlib import Path

from tools.sample_photos import SCENES, encode_jpeg, render

FOLDER = Path(__file__).parents[2] / "app" / "serving" / "page" / "samples"
WIDTH, HEIGHT = 560, 420  # pixels
MOST_BYTES = 22_000  # of a photo


def main(files: list[str]) -> None:
    """Render the scenes with these file names, by default all, and write the index of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        if not files or scene.file in files:
            photo = encode_jpeg(render(scene, WIDTH, HEIGHT), MOST_BYTES)
            (FOLDER / scene.file).write_bytes(photo)
    index = [{"file": scene.file, "title": scene.title, "alt": scene.alt} for scene in SCENES]
    (FOLDER / "samples.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
