"""Fit the image projection on the frozen ImageNet trunk, with classes that no photo shows.

The photos show few of the 1000 classes that the trunk knows, and a projection fitted on them alone
sends a coffee cup to the nearest cat. So made-up features join them: a photo's own, moved along
Sigma (c_j - c_i) from its class i towards a random class j, Sigma being the features' covariance
and c the tower's classifier. For Gaussian classes of equal covariance that is the way from one
class mean to the other. What the classifier says of the moved features are their soft targets.

L-BFGS and a pull towards the initial projection leave alone what the features do not speak of.
AdamW does not: it steps as far along directions without evidence as along the others.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from imagenet import imagenet_network
from make_init import solved_projection
from prepare import FLOOR, soft_targets
from rich.progress import Progress
from torch import Tensor
from vocabulary import imagenet_names

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.labels import render
from app.core.model import cosines, l2_normalize
from app.dataset.labelled import UNKNOWN_TARGET, LabelledPhotos, load_labelled_photos
from app.dataset.manifest import load_names
from app.evaluation.metrics import macro_map
from app.evaluation.predictions import embed_texts
from app.training.data import cached_features, trunk_and_head
from app.training.objective import tempered_bce
from app.training.run import evaluate

HERE = Path(__file__).parent
ITERATIONS = 50
PULL = 0.3
SOFT_WEIGHT = 5.0


def moved_features(
    features: Tensor, weight: Tensor, bias: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Features (N, F) on their way to random classes, and their (N, 1000) probabilities."""
    shifts = weight @ torch.cov(features.T)
    logits = features @ weight.T + bias
    best, own = logits.max(-1)
    goal = torch.randint(len(bias), own.shape, generator=generator)
    direction = shifts[goal] - shifts[own]
    gain = ((weight[goal] - weight[own]) * direction).sum(-1).clamp(min=1e-6)
    lead = best - logits.gather(1, goal[:, None])[:, 0]
    wanted = lead + 8 * torch.rand(len(own), generator=generator)
    moved = (features + direction * (wanted / gain)[:, None]).clamp(min=0)
    probabilities = (moved @ weight.T + bias).softmax(-1)
    return moved, torch.where(probabilities < FLOOR, 0.0, probabilities)


@dataclass(frozen=True, slots=True)
class Problem:
    """Features, the human and soft targets of each, and the texts that they are compared with."""

    features: Tensor
    targets: Tensor
    soft_targets: Tensor
    moved: Tensor
    moved_targets: Tensor
    texts: Tensor
    positive_weights: Tensor

    def soft_loss(self, projection: Tensor, logit_scale: Tensor) -> Tensor:
        """The teacher's loss on the photos alone."""
        cosine = cosines(l2_normalize(self.features @ projection.T), self.texts)
        return tempered_bce(cosine, self.soft_targets, logit_scale, self.positive_weights)

    def loss(self, projection: Tensor, logit_scale: Tensor) -> Tensor:
        """Human labels, the teacher's on photos, and the classifier's on moved features."""
        cosine = cosines(l2_normalize(self.features @ projection.T), self.texts)
        moved = cosines(l2_normalize(self.moved @ projection.T), self.texts)
        weights = self.positive_weights
        soft = tempered_bce(cosine, self.soft_targets, logit_scale, weights)
        made_up = tempered_bce(moved, self.moved_targets, logit_scale, weights)
        human = tempered_bce(cosine, self.targets, logit_scale, weights)
        total: Tensor = human + SOFT_WEIGHT * (soft + made_up)
        return total


def set_up(
    data: LabelledPhotos,
    features: Tensor,
    texts: Tensor,
    weight: Tensor,
    bias: Tensor,
    prompts_of_class: Tensor,
) -> Problem:
    """The problem of the split train, from the teacher's classifier of K classes.

    `prompts_of_class` (K, L) is -1 where nothing is known.
    """
    train = data.indices("train")
    generator = torch.Generator().manual_seed(0)
    moved, probabilities = moved_features(features[1, train], weight, bias, generator)
    present = (probabilities @ prompts_of_class.clamp(min=0)).clamp(max=1.0)
    return Problem(
        features=features[0, train],
        targets=data.targets[train],
        soft_targets=torch.where(data.targets < 0, data.soft_targets.float(), UNKNOWN_TARGET)[
            train
        ],
        moved=moved,
        moved_targets=torch.where(prompts_of_class[0] < 0, UNKNOWN_TARGET, present),
        texts=texts,
        positive_weights=data.positive_weights,
    )


def calibrated(projection: Tensor, problem: Problem, logit_scale: Tensor) -> Tensor:
    """The projection, with every image sent away from the mean text as far as the teacher likes."""
    mean_feature = problem.features.mean(0)
    mean_text = problem.texts.mean(0)
    offset = torch.outer(mean_text, mean_feature / mean_feature.square().sum())
    scaled = projection / (problem.features @ projection.T).norm(dim=1).mean()
    candidates: list[Tensor] = [scaled - step / 2 * offset for step in range(7)]
    losses = [problem.soft_loss(c, logit_scale).item() for c in candidates]
    return candidates[losses.index(min(losses))]


def fit(initial: Tensor, problem: Problem, logit_scale: Tensor) -> tuple[Tensor, Tensor]:
    """The projection and logit_scale that L-BFGS finds from an initial projection."""
    change = torch.zeros_like(initial).requires_grad_()
    scale = logit_scale.clone().requires_grad_()
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
        [change, scale], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        pull = PULL * (change / initial.norm()).square().sum()
        loss = problem.loss(initial + change, scale) + pull
        torch.autograd.backward(loss)
        return float(loss.item())

    optimizer.step(closure)
    return (initial + change).detach(), scale.detach()


def dropped_classes(names: list[str]) -> set[str]:
    """The teacher's classes that give these names away."""
    of_names = yaml.safe_load((HERE / "classes_of_names.yaml").read_text(encoding="utf-8"))
    return {name for left_out in names for name in of_names[left_out]}


def main() -> None:
    """Write a checkpoint that differs from the given one in its projection and logit_scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="of make_init.py")
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--classes", type=Path, required=True, help="its class names, one a line")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--soft-targets", type=Path, required=True)
    parser.add_argument("--leave-out", action="append", default=[])
    parser.add_argument(
        "--drop", action="store_true", help="take the teacher's classes of the left-out names too"
    )
    parser.add_argument("--work", type=Path, required=True, help="where the features are kept")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    start = read_checkpoint(args.start)
    model = load_model(start)
    data = load_labelled_photos(
        args.manifest,
        args.photos,
        start.labels,
        names=load_names(HERE / "names.yaml", start.labels),
        soft_targets=args.soft_targets,
        leave_out=args.leave_out,
        positive_weight=3.0,
    )
    paths = [data.photos / file for file in data.files]
    cache = args.work / "features-start.safetensors"
    with Progress() as progress:
        features = cached_features(model, paths, start.preprocess, cache, progress=progress)

    imagenet = imagenet_names(args.classes)
    gone = dropped_classes(args.leave_out) if args.drop else set[str]()
    kept = torch.tensor([name not in gone for name in imagenet])
    texts, of_class = soft_targets(torch.eye(len(imagenet)), imagenet, start.labels)
    columns = data.columns_of(texts)
    silenced = columns[of_class[~kept].any(0)]  # what a dropped class spoke of
    prompts_of_class = torch.full((len(imagenet), len(data.texts)), UNKNOWN_TARGET)
    prompts_of_class[:, columns] = of_class
    prompts_of_class[:, silenced] = UNKNOWN_TARGET
    data.soft_targets[:, silenced] = UNKNOWN_TARGET

    classifier = imagenet_network(args.tower).classifier
    weight, bias = (part.detach()[kept] for part in (classifier.weight, classifier.bias))
    text_embeddings = embed_texts(model, model.tokenize(data.texts))
    problem = set_up(data, features, text_embeddings, weight, bias, prompts_of_class[kept])
    (head,) = trunk_and_head(model)[1].parameters()
    scale = model.logit_scale.detach()
    names = [name.split(", ")[0] for name in imagenet if name not in gone]
    prompts = [render(start.labels.template, name) for name in names]
    class_embeddings = embed_texts(model, model.tokenize(prompts))
    initial = calibrated(solved_projection(class_embeddings, weight), problem, scale)
    projection, fitted_scale = fit(initial, problem, scale)
    head.data.copy_(projection)
    model.logit_scale.data.copy_(fitted_scale)

    ap = evaluate(model, start.preprocess, data, "validation", features)
    macro = macro_map(list(ap.values()))
    print(f"validation: macro mAP {macro:.4f}, " + ", ".join(f"{k} {v:.3f}" for k, v in ap.items()))
    write_checkpoint(
        args.out,
        model,
        start.config,
        start.labels,
        name=args.out.name,
        version=start.card.version,
        readme=f"# {args.out.name}\n\nA projection fitted on the frozen ImageNet trunk.\n",
        training={
            "recipe": "recipes/demo/fit_head.py",
            "left_out": args.leave_out,
            "classes_dropped": sorted(gone),
        },
        metrics={"validation": {"macro_map": macro, **ap}},
        dtype=torch.float32,
    )


if __name__ == "__main__":
    main()
