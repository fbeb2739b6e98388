"""The sentence-embedding model whose embeddings of the prompts the text tower learns.

An uncentred PCA over the vocabulary reduces its 384 dimensions to those of the checkpoint and
preserves cosines. The basis is kept in a file: texts that are added later get embeddings in the
same space.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor

from app.core.model import l2_normalize


class TextTeacher:
    """Embeds texts.

    Args:
        folder: a sentence-transformers model.
        basis: file of the basis; it must exist, except for `fit`.
    """

    def __init__(self, folder: Path, basis: Path) -> None:
        self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self._basis = basis

    def fit(self, texts: Sequence[str], dimension: int) -> Tensor:
        """Write the basis of these texts and return their (N, dimension) embeddings, unit rows."""
        full = self._full(texts)
        _, vectors = torch.linalg.eigh(full.T @ full)
        basis = vectors[:, -dimension:].flip(1).contiguous()
        save_file({"basis": basis}, self._basis)
        return l2_normalize(full @ basis)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return (N, D) float32 unit rows."""
        return l2_normalize(self._full(texts) @ load_file(self._basis)["basis"])

    def _full(self, texts: Sequence[str]) -> Tensor:
        rows: Tensor = self._model.encode(
            list(texts),
            batch_size=256,
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=True,
        )
        return rows.float()
