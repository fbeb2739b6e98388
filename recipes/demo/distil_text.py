"""Distils a sentence-embedding model into the checkpoint's own text tower.

No pretrained CLIP text tower was available, so a small open_clip transformer learns the embeddings
of all-MiniLM-L6-v2 for each prompt of the vocabulary. For the texts that `finetune.py` trained, it
learns the trained embeddings instead. The result is `text_tower.safetensors` in the work folder.
A run that finds a tower there continues from it.
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
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.core.model import l2_normalize

HERE = Path(__file__).parent
# Token lengths of batches. With causal attention, trailing padding can be cut without effect.
BUCKETS = (8, 10, 13, 18, 24, 32)
HELD_OUT = 1000
CORE, CORE_REPEATS = 6_000, 2  # labels and class names, at the start of the vocabulary
TRAINED_REPEATS = 150  # of a text that finetune.py trained
BATCH_SIZE = 512
MATRIX_WEIGHT = 20
WARMUP = 0.05


def read_texts(path: Path, key: str) -> tuple[list[str], Tensor]:
    """Read texts, from the metadata of a safetensors file, and their embeddings, unit rows."""
    with safe_open(path, framework="pt") as file:
        texts: list[str] = json.loads(file.metadata()["texts"])
        return texts, l2_normalize(file.get_tensor(key)[: len(texts)])


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
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Train the tower in place on the cosine to the teacher and the batch's similarity matrix.

    Args:
        tower: the student.
        tokens: (N, context) token ids.
        targets: (N, D) the teacher's embeddings.
        train: indices to train on; repeated indices are sampled more often.
        minutes: wall-clock length of the schedule.
        learning_rate: peak learning rate.
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
            group["lr"] = learning_rate * rate_at(progress)
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


def rate_at(progress: float) -> float:
    """Return the learning rate's share of its peak: linear warm-up times a cosine decay to 0."""
    return min(1.0, progress / WARMUP) * (1 + math.cos(progress * math.pi)) / 2


@torch.inference_mode()
def report(tower: TextTransformer, tokens: Tensor, targets: Tensor, name: str) -> None:
    """Print the mean cosine and the retrieval accuracy on texts."""
    student = torch.cat([encode(tower, batch, BUCKETS[-1]) for batch in torch.split(tokens, 250)])
    similarity = student @ targets.T
    hits = (similarity.argmax(-1) == torch.arange(len(tokens))).float().mean()
    print(f"{name}: cosine {similarity.diag().mean():.3f}, retrieval@1 {hits:.3f}")


def main() -> None:
    """Train the tower, print its quality and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=Path, required=True)
    parser.add_argument("--student", type=Path, required=True, help="output of finetune.py")
    parser.add_argument("--out", type=Path, required=True, help="a safetensors file")
    parser.add_argument("--minutes", type=float, default=60, help="length of the schedule")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)

    config = json.loads((HERE / "model_config.json").read_text())["model_cfg"]
    config.pop("custom_text")
    tower = CustomTextCLIP(**config).text
    if args.out.exists():
        tower.load_state_dict(load_file(args.out))
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    texts, targets = read_texts(args.vocabulary, "embeddings")
    trained, trained_targets = read_texts(args.student, "texts")
    own = frozenset(trained)
    keep = torch.tensor([text not in own for text in texts])
    # Held out from the middle of the list, which contains neither labels nor class names.
    held_out = (torch.randperm(len(texts) - 40_000, generator=generator) + 20_000)[:HELD_OUT]
    keep[held_out] = False
    core = torch.arange(CORE)
    train = torch.cat(
        [
            torch.nonzero(keep).flatten(),
            core[keep[:CORE]].repeat(CORE_REPEATS),
            (len(texts) + torch.arange(len(trained))).repeat(TRAINED_REPEATS),
        ]
    )
    tokens, targets = tokenizer([*texts, *trained]), torch.cat([targets, trained_targets])
    print(f"{len(texts)} texts, {len(trained)} of them or more trained")
    rate = args.learning_rate
    distil(tower, tokens, targets, train, args.minutes, rate, generator)
    tower.eval()
    report(tower, tokens[held_out], targets[held_out], "held-out texts")
    report(tower, tokens[len(texts) :], trained_targets, "trained texts")
    save_file(tower.state_dict(), args.out)


if __name__ == "__main__":
    main()
