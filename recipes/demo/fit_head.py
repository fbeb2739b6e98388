"""Fits the image projection on the frozen ImageNet trunk, including classes that no photo shows.

The photos show few of the trunk's 1000 classes, and a projection fitted on them alone maps a coffee
cup to the nearest cat. So the fit adds synthetic features: the features of a photo, moved along
Sigma (c_j - c_i) from its class i towards a random class j. Sigma is the covariance of the features
and c the weight of the tower's classifier. For Gaussian classes of equal covariance, this is the
direction from one class mean to the other. The classifier's outputs for the moved features are
their soft targets.

L-BFGS with a penalty on the distance to the initial projection leaves directions without data
unchanged. AdamW would move them: its steps are equally long along all directions.
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
    """Return features (N, F) moved towards random classes, and their (N, 1000) probabilities."""
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
    """Features of photos and moved features with their targets, and the text embeddings."""

    features: Tensor
    targets: Tensor
    soft_targets: Tensor
    moved: Tensor
    moved_targets: Tensor
    texts: Tensor
    positive_weights: Tensor

    def soft_loss(self, projection: Tensor, logit_scale: Tensor) -> Tensor:
        """Return the loss of the teacher's targets on the photos."""
        cosine = cosines(l2_normalize(self.features @ projection.T), self.texts)
        return tempered_bce(cosine, self.soft_targets, logit_scale, self.positive_weights)

    def loss(self, projection: Tensor, logit_scale: Tensor) -> Tensor:
        """Return the loss of human and soft targets on photos and of soft targets on moved ones."""
        cosine = cosines(l2_normalize(self.features @ projection.T), self.texts)
        moved = cosines(l2_normalize(self.moved @ projection.T), self.texts)
        weights = self.positive_weights
        soft = tempered_bce(cosine, self.soft_targets, logit_scale, weights)
        synthetic = tempered_bce(moved, self.moved_targets, logit_scale, weights)
        human = tempered_bce(cosine, self.targets, logit_scale, weights)
        total: Tensor = human + SOFT_WEIGHT * (soft + synthetic)
        return total


def set_up(
    data: LabelledPhotos,
    features: Tensor,
    texts: Tensor,
    weight: Tensor,
    bias: Tensor,
    prompts_of_class: Tensor,
) -> Problem:
    """Build the problem of the train split.

    Args:
        data: N photos with targets for L texts.
        features: (2, N, F) features of the photos as they are and of their mirror images.
        texts: (L, D) text embeddings.
        weight: (K, F) weight of the teacher's classifier.
        bias: (K,) its bias.
        prompts_of_class: (K, L) whether a class implies a text, -1 where unknown.
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
    """Scale the projection and shift all images away from the mean text.

    Of seven shifts, the one with the lowest loss on the teacher's targets is used.
    """
    mean_feature = problem.features.mean(0)
    mean_text = problem.texts.mean(0)
    offset = torch.outer(mean_text, mean_feature / mean_feature.square().sum())
    scaled = projection / (problem.features @ projection.T).norm(dim=1).mean()
    candidates: list[Tensor] = [scaled - step / 2 * offset for step in range(7)]
    losses = [problem.soft_loss(c, logit_scale).item() for c in candidates]
    return candidates[losses.index(min(losses))]


def fit(initial: Tensor, problem: Problem, logit_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the projection and logit_scale by L-BFGS, from an initial projection."""
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
    """Return the teacher's classes that reveal these names."""
    of_names = yaml.safe_load((HERE / "classes_of_names.yaml").read_text(encoding="utf-8"))
    return {name for left_out in names for name in of_names[left_out]}


def main() -> None:
    """Write the initial checkpoint with a fitted projection and logit_scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="output of make_init.py")
    parser.add_argument("--tower", type=Path, required=True, help="the ImageNet network's weights")
    parser.add_argument("--classes", type=Path, required=True, help="its class names, one a line")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--soft-targets", type=Path, required=True)
    parser.add_argument("--leave-out", action="append", default=[])
    parser.add_argument(
        "--drop", action="store_true", help="also drop the teacher's classes of the left-out names"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the feature cache")
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
    dropped_names = dropped_classes(args.leave_out) if args.drop else set[str]()
    kept = torch.tensor([name not in dropped_names for name in imagenet])
    texts, of_class = soft_targets(torch.eye(len(imagenet)), imagenet, start.labels)
    columns = data.columns_of(texts)
    dropped = columns[of_class[~kept].any(0)]  # texts that a dropped class implies
    prompts_of_class = torch.full((len(imagenet), len(data.texts)), UNKNOWN_TARGET)
    prompts_of_class[:, columns] = of_class
    prompts_of_class[:, dropped] = UNKNOWN_TARGET
    data.soft_targets[:, dropped] = UNKNOWN_TARGET

    classifier = imagenet_network(args.tower).classifier
    weight, bias = (each.detach()[kept] for each in (classifier.weight, classifier.bias))
    text_embeddings = embed_texts(model, model.tokenize(data.texts))
    problem = set_up(data, features, text_embeddings, weight, bias, prompts_of_class[kept])
    (head,) = trunk_and_head(model)[1].parameters()
    scale = model.logit_scale.detach()
    names = [name.split(", ")[0] for name in imagenet if name not in dropped_names]
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
            "classes_dropped": sorted(dropped_names),
        },
        metrics={"validation": {"macro_map": macro, **ap}},
        dtype=torch.float32,
    )


if __name__ == "__main__":
    main()
