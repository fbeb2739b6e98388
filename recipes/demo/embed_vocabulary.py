"""Embeds the training texts of the text tower with the sentence-embedding model, once.

Writes `basis.safetensors` (the PCA of `text_teacher.py`) and `vocabulary.safetensors` (the
embeddings, with the texts in the metadata) to the work folder.
"""

import argparse
import json
from pathlib import Path

from safetensors.torch import save_file
from text_teacher import TextTeacher
from vocabulary import phrases

HERE = Path(__file__).parent


def main() -> None:
    """Write the basis and the embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("labels", "classes", "wordnet", "sentences", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    dimension = json.loads((HERE / "model_config.json").read_text())["model_cfg"]["embed_dim"]
    texts = phrases(args.labels, args.classes, args.wordnet, seed=0)
    rows = TextTeacher(args.sentences, args.work / "basis.safetensors").fit(texts, dimension)
    metadata = {"texts": json.dumps(texts)}
    save_file({"embeddings": rows}, args.work / "vocabulary.safetensors", metadata=metadata)
    print(f"{len(texts)} texts")


if __name__ == "__main__":
    main()
