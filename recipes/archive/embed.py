"""Embeds a folder of photos through a running service, for `mumic data candidates`.

Photos that the service rejects are printed to stderr and skipped.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import torch
from rich.progress import track

from app.dataset.embeddings import write_embeddings

SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def results(url: str, photos: Path, files: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the service's result for each photo, in order; its id is the file name."""
    images = [
        {"id": file, "data": base64.b64encode((photos / file).read_bytes()).decode()}
        for file in files
    ]
    body = json.dumps({"images": images, "encoding": "base64"}).encode()
    request = Request(f"{url}/embed", body, {"Content-Type": "application/json"})
    try:
        with urlopen(request) as response:
            yield from json.load(response)["results"]
    except HTTPError as error:
        problem = json.load(error)
        if "results" not in problem:  # with results, every image failed, each with its error
            raise SystemExit(f"{url}: {problem.get('detail', problem)}") from error
        yield from problem["results"]


def main() -> None:
    """Embed all photos in a folder and its subfolders."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of a MuMIC service")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.add_argument("--batch", type=int, default=32, help="photos per request")
    args = parser.parse_args()
    paths = sorted(p for p in args.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    files = [path.relative_to(args.photos).as_posix() for path in paths]
    embedded: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    for start in track(range(0, len(files), args.batch), "embed"):
        for result in results(args.url, args.photos, files[start : start + args.batch]):
            if result["status"] == "ok":
                row = np.frombuffer(base64.b64decode(result["embedding"]), "<f4")
                embedded[result["id"]] = row
            else:
                print(f"{result['id']}: {result['error']['message']}", file=sys.stderr)
    if not embedded:
        raise SystemExit(f"{args.photos}: no photo could be embedded")
    rows = torch.from_numpy(np.stack(list(embedded.values())))
    write_embeddings(args.out, list(embedded), rows)
    print(f"{len(embedded)} of {len(files)} photos, {rows.shape[1]} numbers each")


if __name__ == "__main__":
    main()
