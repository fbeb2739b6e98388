"""Fine-tune the start end to end with all the evidence there is.

Three voices are heard at every step:

- humans, on the pairs that they annotated;
- the ImageNet teacher through the label texts: on this very view of the photo, the probabilities
  of its classes are soft targets of their names and of the labels that they mean;
- the teacher's own 1000 outputs, which the student's features must keep giving through the
  teacher's classifier (distillation).

The last two are heard on strange pictures as well, details and mosaics and blends, so that what
no photo shows is not forgotten. Meant for a GPU, where an epoch takes seconds.
"""

import argparse
import copy
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from evidence import Evidence, Teacher, gather_evidence
from on_device import load_all, strange_views, views
from rich.progress import Progress
from scored import SCORED
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.core.checkpoint import load_model, read_checkpoint, write_checkpoint
from app.core.device import choose_placement
from app.core.scoring import cosines, l2_normalize
from app.dataset.labelled import load_labelled
from app.dataset.names import load_names
from app.evaluation.metrics import macro_map
from app.training.features import trunk_and_head
from app.training.losses import tempered_bce
from app.training.validation import evaluate

HERE = Path(__file__).parent
STORED = 1.125  # side of the photos on the device over that of the views
SETTLING_BATCH = 256
TEMPERATURE = 2.0  # of the distillation
HEAD_LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
SOFT_WEIGHT = 3.0
HEAD_ALONE = 0.07  # share of the run in which the trunk waits for the projection
WARMUP = 0.05


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one run.

    Attributes:
        size_px: side of the square that the model takes.
        epochs: passes over the photos of the part train.
        batch_size: photos a step.
        strange: strange pictures a step.
        learning_rate: peak for the trunk.
        least_area: smallest share of a photo that a view shows.
        distillation_weight: of the teacher's own outputs.
        ema_decay: of the average of the weights, which is what is kept.
        mix: share of the steps in which photos are blended in pairs.
        seed: of everything that is drawn.
    """

    size_px: int = 256
    epochs: int = 28
    batch_size: int = 64
    strange: int = 24
    learning_rate: float = 3e-4
    least_area: float = 0.35
    distillation_weight: float = 0.3
    ema_decay: float = 0.997
    mix: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class Run:
    """The image tower in training, and all that a step needs, on one device."""

    settings: Settings
    trunk: nn.Module
    head: nn.Module
    logit_scale: Tensor
    teacher: Teacher
    evidence: Evidence
    pixels: Tensor
    generator: torch.Generator

    def fit(self, train: Tensor, progress: Progress) -> None:
        """Train, and leave the averaged weights in the tower."""
        tower = nn.ModuleList([self.trunk, self.head])
        average = get_ema_multi_avg_fn(self.settings.ema_decay)
        averaged = AveragedModel(tower, multi_avg_fn=average)
        optimizer = self._optimizer()
        steps = len(train) // self.settings.batch_size
        total = steps * self.settings.epochs
        task = progress.add_task("fine-tuning", total=total)
        for step in range(total):
            if step % steps == 0:
                order = torch.split(self._shuffled(train), self.settings.batch_size)
            done = (step + 0.5) / total
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(done, group["waits"])
            torch.autograd.backward(self.loss(order[step % steps]))
            nn.utils.clip_grad_norm_(tower.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            self.logit_scale.data.clamp_(max=math.log(100))
            if done > HEAD_ALONE:
                averaged.update_parameters(tower)
            progress.advance(task)
        tower.load_state_dict(averaged.module.state_dict())
        self.settle(train)

    def loss(self, photos: Tensor) -> Tensor:
        """All three voices on a batch of photos, and two on strange pictures."""
        settings, evidence = self.settings, self.evidence
        seen = views(
            self.pixels[photos], settings.size_px, (settings.least_area, 1.0), self.generator
        )
        share, partner = self._mixture(len(photos))
        seen = share * seen + (1 - share) * seen[partner]
        strange = strange_views(self.pixels, settings.strange, settings.size_px, self.generator)
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=seen.is_cuda):
            taught, taught_strange = self.teacher(seen).float(), self.teacher(strange).float()
            features = self.trunk.train()(self.teacher.normalized(seen)).float()
            # Strange pictures leave the norm layers' statistics of photos alone.
            strange_features = self.trunk.eval()(self.teacher.normalized(strange)).float()
        cosine, strange_cosine = self._cosines(features), self._cosines(strange_features)
        total = share * self._bce(cosine, evidence.human[photos])
        total = total + (1 - share) * self._bce(cosine, evidence.human[photos[partner]])
        soft = (
            self._bce(cosine, evidence.soft_of_photos(taught, photos)),
            self._bce(strange_cosine, evidence.soft(taught_strange)),
        )
        distilled = (
            self._divergence(features, taught),
            self._divergence(strange_features, taught_strange),
        )
        total = total + SOFT_WEIGHT * sum(soft) / 2
        return total + settings.distillation_weight * sum(distilled) / 2

    @torch.no_grad()
    def settle(self, train: Tensor) -> None:
        """Take the norm layers' statistics anew, from photos as they are mostly seen."""
        norms = [m for m in self.trunk.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        self.trunk.train()
        for photos in torch.split(self._shuffled(train), SETTLING_BATCH):
            seen = views(self.pixels[photos], self.settings.size_px, (0.7, 1.0), self.generator)
            with torch.autocast(seen.device.type, torch.bfloat16, enabled=seen.is_cuda):
                self.trunk(self.teacher.normalized(seen))
        self.trunk.eval()

    def _shuffled(self, train: Tensor) -> Tensor:
        order = torch.randperm(len(train), generator=self.generator, device=train.device)
        return train[order]

    def _mixture(self, count: int) -> tuple[float, Tensor]:
        """Share of each photo in its view, and who has the rest."""
        order = torch.randperm(count, generator=self.generator, device=self.pixels.device)
        blended = torch.rand(()) < self.settings.mix
        return (float(0.5 + 0.5 * torch.rand(())) if blended else 1.0), order

    def _cosines(self, features: Tensor) -> Tensor:
        return cosines(l2_normalize(self.head(features)), self.evidence.texts)

    def _bce(self, cosine: Tensor, targets: Tensor) -> Tensor:
        return tempered_bce(cosine, targets, self.logit_scale, self.evidence.positive_weights)

    def _divergence(self, features: Tensor, taught: Tensor) -> Tensor:
        student = (self.teacher.classify(features) / TEMPERATURE).log_softmax(-1)
        target = (taught / TEMPERATURE).softmax(-1)
        return TEMPERATURE**2 * nn.functional.kl_div(student, target, reduction="batchmean")

    def _optimizer(self) -> torch.optim.AdamW:
        body = list(self.trunk.parameters())
        peak = self.settings.learning_rate
        groups = [
            ([p for p in body if p.ndim >= 2], peak, WEIGHT_DECAY, True),
            ([p for p in body if p.ndim < 2], peak, 0.0, True),
            ([*self.head.parameters()], HEAD_LEARNING_RATE, WEIGHT_DECAY, False),
            ([self.logit_scale], HEAD_LEARNING_RATE, 0.0, False),
        ]
        return torch.optim.AdamW(
            [
                {"params": parameters, "peak": rate, "weight_decay": decay, "waits": waits}
                for parameters, rate, decay, waits in groups
            ],
            fused=True,
        )


def schedule(done: float, waits: bool) -> float:
    """Share of the peak rate: the trunk waits for the projection, then a cosine takes both to 0."""
    if done < HEAD_ALONE:
        return 0.0 if waits else 1.0
    rest = (done - HEAD_ALONE) / (1 - HEAD_ALONE)
    rise = min(1.0, rest / WARMUP) if waits else 1.0
    return rise * (1 + math.cos(math.pi * rest)) / 2


def main() -> None:
    """Write the fine-tuned checkpoint, and say how good it is on the part validation."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("start", "pretrained", "manifest", "photos", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--leave-out", action="append", default=[])
    parser.add_argument("--device", default="auto")
    defaults = Settings()
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args()
    settings = Settings(**{name: getattr(args, name) for name in asdict(defaults)})
    device = choose_placement(args.device, "fp32", transformer=False).device
    torch.manual_seed(settings.seed)

    start = read_checkpoint(args.start)
    config = copy.deepcopy(start.config)
    config["model_cfg"]["vision_cfg"]["image_size"] = settings.size_px
    config["preprocess_cfg"]["size"] = [settings.size_px] * 2
    preprocess = replace(start.preprocess, size_px=settings.size_px)
    model = load_model(args.start)
    data = load_labelled(
        args.manifest,
        args.photos,
        start.labels,
        names=load_names(HERE / "names.yaml", start.labels),
        leave_out=args.leave_out,
        positive_weight=3.0,
    )
    train = data.indices("train").to(device)
    if len(train) < settings.batch_size:
        parser.error(f"--batch-size {settings.batch_size}: the part train has {len(train)} photos")
    evidence = gather_evidence(
        data, model, start.labels, args.photos, args.pretrained, args.leave_out, device
    )
    trunk, head = trunk_and_head(model.to(device))
    stored = replace(preprocess, size_px=round(STORED * settings.size_px))
    run = Run(
        settings,
        trunk.to(memory_format=torch.channels_last),
        head,
        model.logit_scale,
        Teacher(args.pretrained, preprocess).to(device),
        evidence,
        load_all([data.photos / file for file in data.files], stored, device),
        torch.Generator(device).manual_seed(settings.seed),
    )
    with Progress() as progress:
        run.fit(train, progress)
    ap = evaluate(model.eval(), preprocess, data, "validation")
    scored, everything = macro_map([ap[name] for name in SCORED]), macro_map(list(ap.values()))
    print(f"validation: macro mAP {scored:.4f} over the scored, {everything:.4f} over all")
    write_checkpoint(
        args.out,
        model.cpu(),
        config,
        start.labels,
        name=args.out.name,
        version=start.card.version,
        readme=f"# {args.out.name}\n\nOf recipes/demo/finetune.py.\n",
        training={
            "recipe": "recipes/demo/finetune.py",
            "left_out": args.leave_out,
            "settings": asdict(settings),
        },
        metrics={"validation": {"macro_map_scored": scored, "macro_map": everything, **ap}},
        exif_orientation=preprocess.exif_orientation,
    )


if __name__ == "__main__":
    main()
