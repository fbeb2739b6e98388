"""Fine-tunes the upper stages of the image tower on human labels and on the ImageNet teacher.

The loss of a step has three terms:

- human labels, on the annotated pairs;
- pseudo-labels: the ImageNet network's class probabilities for this view are soft targets of the
  class names and of the labels that the classes imply. Class names and labels are averaged
  separately, so that one label of a hundred is not outweighed by a thousand class names;
- distillation: the network's classifier on the student's features must reproduce the network's
  1000 outputs.

The last two terms also use synthetic views, so that the model keeps concepts that no photo shows.
The lower stages and the statistics of the norm layers stay unchanged. `make_views.py` has computed
their output for every view, so an epoch takes three minutes on two CPU cores.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from evidence import Evidence, gather_evidence
from imagenet import imagenet_network, lower_and_upper
from make_views import SYNTHETIC
from rich.progress import Progress
from safetensors import safe_open
from scored import print_scores
from torch import Tensor, nn

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.model import cosines, l2_normalize
from app.dataset.labelled import load_labelled_photos
from app.dataset.manifest import load_names
from app.training.data import trunk_and_head
from app.training.objective import tempered_bce
from app.training.run import WeightAverage, evaluate

HERE = Path(__file__).parent
TEMPERATURE = 2.0  # of the distillation
WARMUP = 0.05


@dataclass(frozen=True, slots=True)
class Settings:
    """The hyperparameters of a run.

    Attributes:
        epochs: passes over the photos of the train split, with one view of each photo.
        batch_size: photos per step.
        strange: synthetic views per step.
        learning_rate: peak learning rate.
        weight_decay: decay of all weights except gains and biases.
        positive_weight: weight of positive human labels.
        class_weight: weight of the loss on class names.
        distillation_weight: weight of the distillation loss.
        ema_decay: decay of the moving average of the weights, which is the result.
        seed: seed of the order and of the choice of views.
    """

    epochs: int = 14
    batch_size: int = 48
    strange: int = 16
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    positive_weight: float = 1.5
    class_weight: float = 2.0
    distillation_weight: float = 0.5
    ema_decay: float = 0.998
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Views:
    """The output of `make_views.py`, with photos as indices into the data.

    Attributes:
        stages: number of stages in the lower half.
        maps: (V, C, H, W) float16 feature maps of the V views.
        logits: (V, 1000) float16 logits of the ImageNet network.
        of_photos: (n, K) indices of the K views of each of the n photos of the train split.
        photos: (n,) indices of these photos in the data.
        synthetic: (M,) indices of the synthetic views.
    """

    stages: int
    maps: Tensor
    logits: Tensor
    of_photos: Tensor
    photos: Tensor
    synthetic: Tensor


def read_views(path: Path, files: tuple[str, ...]) -> Views:
    """Read the views.

    Args:
        path: the output of `make_views.py`.
        files: the files of the data, in order.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        maps, logits, shown = (file.get_tensor(key) for key in ("maps", "logits", "photos"))
    position = {name: i for i, name in enumerate(files)}
    photos = torch.tensor([position[name] for name in json.loads(metadata["files"])])
    order = shown.argsort(stable=True)
    synthetic = int((shown == SYNTHETIC).sum())
    return Views(
        stages=int(metadata["stages"]),
        maps=maps,
        logits=logits,
        of_photos=order[synthetic:].view(len(photos), -1),
        photos=photos,
        synthetic=order[:synthetic],
    )


@dataclass(frozen=True, slots=True)
class Student:
    """The trained modules and the constants of their loss.

    Attributes:
        settings: the hyperparameters.
        upper: feature maps to pooled features.
        head: pooled features to embeddings.
        logit_scale: scalar, trained.
        classifier: the ImageNet network's classifier, frozen.
        evidence: the targets of the photos and of the network's classes.
    """

    settings: Settings
    upper: nn.Module
    head: nn.Module
    logit_scale: Tensor
    classifier: nn.Module
    evidence: Evidence

    def loss(self, maps: Tensor, taught: Tensor, photos: Tensor) -> Tensor:
        """Return the loss of a batch of B views; the first P show photos, the rest are synthetic.

        Args:
            maps: (B, C, H, W) feature maps.
            taught: (B, 1000) logits of the ImageNet network.
            photos: (P,) indices of the photos in the data.
        """
        evidence, settings = self.evidence, self.settings
        features = self.upper(maps.float().contiguous(memory_format=torch.channels_last))
        cosine = cosines(l2_normalize(self.head(features)), evidence.texts)
        taught = taught.float()
        soft = evidence.soft(taught)
        soft[: len(photos)] = evidence.soft_of_photos(taught[: len(photos)], photos)
        human = self._bce(cosine[: len(photos)], evidence.human[photos])
        of_labels = self._bce(cosine, soft, evidence.labels)
        of_classes = self._bce(cosine, soft, ~evidence.labels)
        student = (self.classifier(features) / TEMPERATURE).log_softmax(-1)
        target = (taught / TEMPERATURE).softmax(-1)
        distilled = TEMPERATURE**2 * nn.functional.kl_div(student, target, reduction="batchmean")
        soft_loss = of_labels + settings.class_weight * of_classes
        return human + soft_loss + settings.distillation_weight * distilled

    def _bce(self, cosine: Tensor, targets: Tensor, texts: Tensor | None = None) -> Tensor:
        weights = self.evidence.positive_weights
        if texts is not None:
            cosine, targets, weights = cosine[:, texts], targets[:, texts], weights[texts]
        return tempered_bce(cosine, targets, self.logit_scale, weights)

    def optimizer(self) -> torch.optim.AdamW:
        """Create AdamW without weight decay of gains, biases and logit_scale."""
        parameters = [*self.upper.parameters(), *self.head.parameters()]
        decayed = [p for p in parameters if p.ndim >= 2]
        others = [p for p in parameters if p.ndim < 2]
        decay = self.settings.weight_decay
        groups = [
            {"params": decayed, "weight_decay": decay},
            {"params": [*others, self.logit_scale], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate)


def steps(views: Views, settings: Settings) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the views of each step and the photos that the first of them show."""
    generator = torch.Generator().manual_seed(settings.seed)
    count = len(views.photos)
    for _ in range(settings.epochs):
        order = torch.randperm(count, generator=generator)
        whole = count - count % settings.batch_size
        for rows in torch.split(order[:whole], settings.batch_size):
            view = torch.randint(views.of_photos.shape[1], rows.shape, generator=generator)
            extra = torch.randint(len(views.synthetic), (settings.strange,), generator=generator)
            chosen = torch.cat([views.of_photos[rows, view], views.synthetic[extra]])
            yield chosen, views.photos[rows]


def fit(student: Student, views: Views, progress: Progress) -> None:
    """Train the student in place; it ends with the averaged weights."""
    settings = student.settings
    tower = nn.ModuleList([student.upper, student.head])
    average = WeightAverage(tower, settings.ema_decay)
    optimizer = student.optimizer()
    total = settings.epochs * (len(views.photos) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=total, pct_start=WARMUP, cycle_momentum=False
    )
    task = progress.add_task("fine-tuning", total=total)
    loss_of = torch.compile(student.loss)
    for chosen, photos in steps(views, settings):
        torch.autograd.backward(loss_of(views.maps[chosen], views.logits[chosen], photos))
        nn.utils.clip_grad_norm_(tower.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        student.logit_scale.data.clamp_(max=math.log(100))
        average.update()
        progress.advance(task)
    with average.applied():
        averaged = {key: value.clone() for key, value in tower.state_dict().items()}
    tower.load_state_dict(averaged)


def main() -> None:
    """Write the fine-tuned checkpoint and print its metrics on the validation split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="output of fit_head.py")
    parser.add_argument("--views", type=Path, required=True, help="output of make_views.py")
    for name in ("tower", "classes", "manifest", "photos", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--leave-out", action="append", default=[])
    defaults = Settings()
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args()
    settings = Settings(**{name: getattr(args, name) for name in asdict(defaults)})

    start = read_checkpoint(args.start)
    model = load_model(start).eval()
    data = load_labelled_photos(
        args.manifest,
        args.photos,
        start.labels,
        names=load_names(HERE / "names.yaml", start.labels),
        leave_out=args.leave_out,
        positive_weight=settings.positive_weight,
    )
    views = read_views(args.views, data.files)
    trunk, head = trunk_and_head(model)
    trunk.to(memory_format=torch.channels_last)
    (projection,) = head.parameters()
    # The scale does not change cosines, but it changes the effect of an optimizer step.
    projection.data.mul_(projection.shape[1] ** -0.5 / projection.data.square().mean().sqrt())
    student = Student(
        settings,
        lower_and_upper(trunk, views.stages)[1],
        head,
        model.logit_scale,
        imagenet_network(args.tower).classifier.requires_grad_(False),
        gather_evidence(data, model, start.labels, args.photos, args.classes, args.leave_out),
    )
    with Progress() as progress:
        fit(student, views, progress)
    metrics = print_scores(evaluate(model, start.preprocess, data, "validation"))
    write_checkpoint(
        args.out,
        model,
        start.config,
        start.labels,
        name=args.out.name,
        version=start.card.version,
        readme=f"# {args.out.name}\n\nWritten by recipes/demo/finetune.py.\n",
        training={
            "recipe": "recipes/demo/finetune.py",
            "left_out": args.leave_out,
            "settings": asdict(settings),
        },
        metrics={"validation": metrics},
        exif_orientation=start.preprocess.exif_orientation,
    )


if __name__ == "__main__":
    main()
