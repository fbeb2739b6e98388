"""Fit the image projection on the features of a frozen trunk, with classes that no photo shows.

The photos show few of the 1000 classes that the ImageNet tower knows, and a projection that is
fitted on them alone sends a coffee cup to the nearest cat. So every step also sees made-up
features: a photo's own, moved along Sigma (c_j - c_i) from its class i towards a random class j,
Sigma being the features' covariance and c the tower's classifier. For Gaussian classes of equal
covariance that is the way from one class mean to the other. What the classifier says of the moved
features are their soft targets.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from prepare import FLOOR, soft_targets
from rich.progress import Progress
from safetensors.torch import load_file
from torch import Tensor
from vocabulary import imagenet_names

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.scoring import cosines, l2_normalize
from app.evaluation.metrics import macro_map
from app.training.data import load_data
from app.training.features import cached_features, trunk_and_head
from app.training.losses import tempered_bce
from app.training.names import load_names
from app.training.soft_targets import UNKNOWN
from app.training.validation import embed_texts, evaluate

HERE = Path(__file__).parent
BATCH_SIZE = 128
RIDGE = 300.0


@dataclass(frozen=True, slots=True)
class Classes:
    """The ImageNet tower's classifier on some features, and how those features vary.

    Attributes:
        weight: (1000, F).
        bias: (1000,).
        shifts: (1000, F), each class's weight times the covariance.
    """

    weight: Tensor
    bias: Tensor
    shifts: Tensor

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, features: Tensor, logits: Tensor) -> Self:
        """Fit the classifier to features of another trunk which should give these logits."""
        gram = features.T @ features + RIDGE * torch.eye(features.shape[1])
        error = logits - features @ weight.T - bias
        weight = weight + torch.linalg.solve(gram, features.T @ error).T
        return cls(weight, bias, weight @ torch.cov(features.T))

    def moved(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features on their way to random classes, and their (B, 1000) probabilities."""
        logits = features @ self.weight.T + self.bias
        best, own = logits.max(-1)
        goal = torch.randint(len(self.bias), own.shape, generator=generator)
        direction = self.shifts[goal] - self.shifts[own]
        gain = ((self.weight[goal] - self.weight[own]) * direction).sum(-1).clamp(min=1e-6)
        lead = best - logits.gather(1, goal[:, None])[:, 0]
        wanted = lead + 8 * torch.rand(len(own), generator=generator)
        moved = (features + direction * (wanted / gain)[:, None]).clamp(min=0)
        return moved, (moved @ self.weight.T + self.bias).softmax(-1)


def main() -> None:
    """Write a checkpoint that differs from the given one in its projection alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="of make_init.py")
    parser.add_argument("--pretrained", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--soft-targets", type=Path, required=True)
    parser.add_argument("--leave-out", action="append", default=[])
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--soft-target-weight", type=float, default=1.0)
    parser.add_argument("--moved-weight", type=float, default=1.0)
    parser.add_argument("--positive-weight", type=float, default=3.0)
    args = parser.parse_args()

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    checkpoint = read_checkpoint(args.checkpoint)
    label_set = checkpoint.labels
    data = load_data(
        args.manifest,
        args.photos,
        label_set,
        names=load_names(HERE / "names.yaml", label_set),
        soft_targets=args.soft_targets,
        leave_out=args.leave_out,
        positive_weight=args.positive_weight,
    )
    paths = [data.photos / file for file in data.files]
    models = {"start": load_model(args.start), args.checkpoint.name: load_model(args.checkpoint)}
    features = {}
    with Progress() as progress:
        for name, model in models.items():
            cache = args.work / f"features-{name}.safetensors"
            features[name] = cached_features(
                model, paths, checkpoint.preprocess, cache, progress=progress
            )
    model, own = models[args.checkpoint.name], features[args.checkpoint.name]
    tower = load_file(args.pretrained / "mobilenetv2_100_imagenet1k.safetensors")
    weight, bias = (tower[f"classifier.{part}"].float()[1:] for part in ("weight", "bias"))
    train = data.indices("train")
    logits = features["start"][0, train] @ weight.T + bias
    classes = Classes.of(weight, bias, own[0, train], logits)

    imagenet = imagenet_names(args.pretrained / "imagenet_classes.txt")
    texts, of_class = soft_targets(torch.eye(len(imagenet)), imagenet, label_set)
    position = {text.casefold(): i for i, text in enumerate(data.texts)}
    columns = torch.tensor([position[text.casefold()] for text in texts])
    text_embeddings = embed_texts(model, model.tokenize(data.texts))
    soft = torch.where(data.targets < 0, data.soft_targets.float(), UNKNOWN)
    left_out = [data.classes[name] for name in args.leave_out]

    head = trunk_and_head(model)[1].train()
    optimizer = torch.optim.AdamW([*head.parameters(), model.logit_scale], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.learning_rate, total_steps=args.steps, pct_start=0.1
    )
    for step in range(args.steps):
        batch = train[torch.randint(len(train), (BATCH_SIZE,), generator=generator)]
        view = torch.randint(2, (BATCH_SIZE,), generator=generator)
        real = own[view, batch]
        moved, probabilities = classes.moved(real, generator)
        moved_targets = torch.full((BATCH_SIZE, len(data.texts)), UNKNOWN)
        present = (probabilities @ of_class).clamp(max=1.0)
        moved_targets[:, columns] = torch.where(present < FLOOR, 0.0, present)
        moved_targets[:, left_out] = UNKNOWN
        real_cosines, moved_cosines = torch.split(
            cosines(l2_normalize(head(torch.cat([real, moved]))), text_embeddings), BATCH_SIZE
        )
        scale, weights = model.logit_scale, data.positive_weights
        loss = (
            tempered_bce(real_cosines, data.targets[batch], scale, weights)
            + args.soft_target_weight * tempered_bce(real_cosines, soft[batch], scale, weights)
            + args.moved_weight * tempered_bce(moved_cosines, moved_targets, scale, weights)
        )
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.3f}", flush=True)

    ap = evaluate(model, checkpoint.preprocess, data, "validation", own)
    print(f"macro mAP on validation {macro_map(list(ap.values())):.4f}; {ap}")
    write_checkpoint(
        args.out,
        model.eval(),
        checkpoint.config,
        label_set,
        name=checkpoint.card.name,
        version=checkpoint.card.version,
        readme="# A projection fitted on a frozen trunk\n",
        training={**checkpoint.card.training, "refit": {"steps": args.steps}},
        metrics={"validation": {"macro_map": macro_map(list(ap.values())), **ap}},
    )


if __name__ == "__main__":
    main()
