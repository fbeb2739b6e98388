"""Fine-tune the upper stages of the image tower with all the evidence there is.

Three voices are heard at every step:

- humans, on the pairs that they annotated;
- the ImageNet network through the label texts: on this very view of the photo, the probabilities
  of its classes are soft targets of their names and, in a mean of their own, of the labels that
  they mean: "a coffee cup is no pet" is one pair among the labels' hundred, not among a thousand;
- its own 1000 outputs, which the student's features must keep giving through the network's
  classifier (distillation).

The last two are heard on strange pictures as well, so that what no photo shows is not forgotten.
The lower stages and the norm layers' statistics stay as they are: `make_views.py` has carried every
view through them, which makes an epoch three minutes on two CPU cores.
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
from make_views import STRANGE
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
    """Of one run.

    Attributes:
        epochs: passes over the photos of the split train, a view of each.
        batch_size: photos a step.
        strange: strange pictures a step.
        learning_rate: peak.
        weight_decay: on weights that are not gains or biases.
        positive_weight: of human labels.
        class_weight: of the class names' soft targets.
        distillation_weight: of the network's own outputs.
        ema_decay: of the average of the weights, which is what is kept.
        seed: of everything that is drawn.
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
    """What `make_views.py` wrote, with photos as positions in the data.

    Attributes:
        stages: of the lower half.
        maps: (V, C, H, W) float16.
        logits: (V, 1000) float16 of the ImageNet network.
        of_photos: (n, K) views of the n photos of the split train.
        photos: (n,) their positions in the data.
        strange: (M,) views of no photo.
    """

    stages: int
    maps: Tensor
    logits: Tensor
    of_photos: Tensor
    photos: Tensor
    strange: Tensor


def read_views(path: Path, files: tuple[str, ...]) -> Views:
    """The views of photos that the data names `files`."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        maps, logits, shown = (file.get_tensor(key) for key in ("maps", "logits", "photos"))
    position = {name: i for i, name in enumerate(files)}
    photos = torch.tensor([position[name] for name in json.loads(metadata["files"])])
    order = shown.argsort(stable=True)
    strange = int((shown == STRANGE).sum())
    return Views(
        stages=int(metadata["stages"]),
        maps=maps,
        logits=logits,
        of_photos=order[strange:].view(len(photos), -1),
        photos=photos,
        strange=order[:strange],
    )


@dataclass(frozen=True, slots=True)
class Student:
    """What is trained, and all that its loss needs.

    Attributes:
        upper: feature maps to pooled features.
        head: pooled features to embeddings.
        logit_scale: scalar.
        classifier: the ImageNet network's, as it was.
        evidence: what is known of photos and of the network's classes.
    """

    settings: Settings
    upper: nn.Module
    head: nn.Module
    logit_scale: Tensor
    classifier: nn.Module
    evidence: Evidence

    def loss(self, maps: Tensor, taught: Tensor, photos: Tensor) -> Tensor:
        """All three voices on views, of which the first show photos and the rest are strange."""
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
        """AdamW, with no decay of gains, biases and logit_scale."""
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
    """Views of each step and the photos that the first of them show."""
    generator = torch.Generator().manual_seed(settings.seed)
    count = len(views.photos)
    for _ in range(settings.epochs):
        order = torch.randperm(count, generator=generator)
        whole = count - count % settings.batch_size
        for rows in torch.split(order[:whole], settings.batch_size):
            turn = torch.randint(views.of_photos.shape[1], rows.shape, generator=generator)
            unlike = torch.randint(len(views.strange), (settings.strange,), generator=generator)
            seen = torch.cat([views.of_photos[rows, turn], views.strange[unlike]])
            yield seen, views.photos[rows]


def fit(student: Student, views: Views, progress: Progress) -> None:
    """Train, and leave the averaged weights in the student."""
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
    for seen, photos in steps(views, settings):
        torch.autograd.backward(loss_of(views.maps[seen], views.logits[seen], photos))
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
    """Write the fine-tuned checkpoint, and say how good it is on the split validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="of fit_head.py")
    parser.add_argument("--views", type=Path, required=True, help="of make_views.py")
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
    # Cosines do not see its length; a step of the optimizer does.
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
        readme=f"# {args.out.name}\n\nOf recipes/demo/finetune.py.\n",
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
