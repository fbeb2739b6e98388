"""A simple FastAPI application: each request runs in a thread pool, photo by photo.

uvicorn runs with its defaults.
"""

from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.systems.tagger import PhotoResult, Tagger, arguments


def create_app(checkpoint: Path) -> FastAPI:
    """Return the application.

    Args:
        checkpoint: checkpoint directory.
    """
    app = FastAPI()
    tagger = Tagger(checkpoint)

    @app.post("/predict")
    def predict(images: list[UploadFile]) -> dict[str, Any]:
        results: list[PhotoResult] = []
        for image in images:
            results += tagger.tag(tagger.decode(image.file.read())[None])
        return {"results": results}

    return app


if __name__ == "__main__":
    args = arguments(__doc__)
    uvicorn.run(create_app(args.checkpoint), port=args.port, log_level="warning")
