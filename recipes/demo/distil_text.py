"""Distils a sentence-embedding model into the checkpoint's own text tower.

No pretrained CLIP text tower was available, so a small open_clip transformer learns the embeddings
of all-MiniLM-L6-v2 for each prompt. An uncentred PCA over the vocabulary reduces the teacher's 384
dimensions to the model's and preserves cosines. The result is `text_tower.safetensors` in the work
folder.
"""

import argparse
import json
import math
import time
from pathlib import Path

import open_clip
import torch
from open_clip.model import CustomTextCLIP
from open_clip.transformer import TextTransformer
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from vocabulary import phrases

HERE = Path(__file__).parent
# Token lengths of batches. With causal attention, trailing padding can be cut without effect.
BUCKETS = (8, 10, 13, 18, 24, 32)
HELD_OUT = 1000
CORE = 6_000
BATCH_SIZE = 512
MATRIX_WEIGHT = 20
PEAK_LEARNING_RATE = 1e-3
WARMUP = 0.05


def teacher_embeddings(texts: list[str], folder: Path, dimension: int) -> Tensor:
    """Return (N, dimension) float32 unit rows: the teacher's sentence embeddings after the PCA."""
    teacher = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    full = teacher.encode(
        texts,
        batch_size=256,
        convert_to_tensor=True,
        normalize_embeddings=True,
        show_progress_bar=True,
    ).float()
    _, vectors = torch.linalg.eigh(full.T @ full)
    return nn.functional.normalize(full @ vectors[:, -dimension:].flip(1), dim=-1)


def bucketed_batches(lengths: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Return one epoch of index batches in random order, each from one length bucket."""
    bucket_of = torch.bucketize(lengths, torch.tensor(BUCKETS))
    batches: list[Tensor] = []
    for bucket in range(len(BUCKETS)):
        members = torch.nonzero(bucket_of == bucket).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        batches += [batch for batch in torch.split(members, BATCH_SIZE) if len(batch) >= 32]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def encode(tower: TextTransformer, tokens: Tensor, length: int) -> Tensor:
    """Return unit embeddings of token rows that have only padding after `length` tokens."""
    mask = tower.attn_mask
    tower.attn_mask = mask[:length, :length]
    try:
        return nn.functional.normalize(tower(tokens[:, :length]), dim=-1)
    finally:
        tower.attn_mask = mask


def distil(
    tower: TextTransformer,
    tokens: Tensor,
    targets: Tensor,
    train: Tensor,
    minutes: float,
    generator: torch.Generator,
) -> None:
    """Train the tower in place on the cosine to the teacher and the batch's similarity matrix.

    Args:
        tower: the student.
        tokens: (N, context) token ids.
        targets: (N, D) the teacher's embeddings.
        train: indices to train on; repeated indices are sampled more often.
        minutes: wall-clock length of the schedule.
        generator: determines the order.
    """
    lengths = tokens.argmax(dim=-1) + 1
    matrices = [p for p in tower.parameters() if p.ndim >= 2]
    gains_and_biases = [p for p in tower.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": 0.01},
            {"params": gains_and_biases, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    batches: list[Tensor] = []
    started, step = time.monotonic(), 0
    while (progress := (time.monotonic() - started) / (60 * minutes)) < 1:
        if not batches:
            batches = [train[b] for b in bucketed_batches(lengths[train], generator)]
        batch = batches.pop()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(progress)
        length = BUCKETS[int(torch.bucketize(lengths[batch].max(), torch.tensor(BUCKETS)))]
        student, target = encode(tower, tokens[batch], length), targets[batch]
        cosine_loss = 1 - (student * target).sum(-1).mean()
        matrix_loss = nn.functional.mse_loss(student @ student.T, target @ target.T)
        torch.autograd.backward(cosine_loss + MATRIX_WEIGHT * matrix_loss)
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 100 == 0:
            print(f"{progress:5.1%} step {step} cosine {1 - cosine_loss.item():.3f}", flush=True)


def learning_rate_at(progress: float) -> float:
    """Return the learning rate: linear warm-up times a cosine decay to 0."""
    return PEAK_LEARNING_RATE * min(1.0, progress / WARMUP) * (1 + math.cos(progress * math.pi)) / 2


@torch.inference_mode()
def report(tower: TextTransformer, tokens: Tensor, targets: Tensor) -> None:
    """Print the mean cosine and the retrieval accuracy on held-out texts."""
    student = torch.cat([encode(tower, batch, BUCKETS[-1]) for batch in torch.split(tokens, 250)])
    similarity = student @ targets.T
    hits = (similarity.argmax(-1) == torch.arange(len(tokens))).float().mean()
    print(f"held-out texts: cosine {similarity.diag().mean():.3f}, retrieval@1 {hits:.3f}")


def main() -> None:
    """Embed the vocabulary with the teacher, distil, print the quality and save the tower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--imagenet-classes", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of WordNet's data.noun")
    parser.add_argument(
        "--teacher", type=Path, required=True, help="a sentence-transformers folder"
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20, help="length of the schedule")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)

    config = json.loads((HERE / "model_config.json").read_text())["model_cfg"]
    config.pop("custom_text")
    tower = CustomTextCLIP(**config).text
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    texts = phrases(args.labels, args.imagenet_classes, args.wordnet, args.seed)
    tokens = tokenizer(texts)
    cache = args.work / "teacher_embeddings.safetensors"
    if not cache.exists():
        rows = teacher_embeddings(texts, args.teacher, config["embed_dim"])
        save_file({"embeddings": rows}, cache)
    targets = load_file(cache)["embeddings"]
    print(f"{len(texts)} texts")

    # Held out from the middle of the list, which contains neither labels nor class names.
    held_out = (torch.randperm(len(texts) - 40_000, generator=generator) + 20_000)[:HELD_OUT]
    keep = torch.ones(len(texts), dtype=torch.bool)
    keep[held_out] = False
    core = torch.arange(CORE).repeat(3)  # labels and class names, sampled more often
    train = torch.cat([torch.nonzero(keep).flatten(), core])
    distil(tower, tokens, targets, train, args.minutes, generator)
    tower.eval()
    report(tower, tokens[held_out], targets[held_out])
    save_file(tower.state_dict(), args.work / "text_tower.safetensors")


if __name__ == "__main__":
    main()
