"""Fine-tunes the upper stages of the image tower, the projection and the embeddings of the texts.

The loss of a step has five terms:

- labels: tempered-sigmoid cross-entropy of photos and texts, for the targets of `evidence.py`. The
  ImageNet network adds soft targets of labels that its classes imply, for the view at hand. Unknown
  pairs that are assumed to be absent do not count once the model scores them above 0.5 (rejection
  of large losses: Kim et al., Large Loss Matters in Weakly Supervised Multi-Label Classification,
  2022);
- class names: the network's class probabilities are soft targets of the names of its 1000 classes;
- distillation: the network's classifier on the student's features must reproduce its outputs;
- drawings: no judged text fits an image that shows nothing;
- texts: the embeddings of labels and other judged texts are trained, held near the sentence
  embedding model's. `distil_text.py` then teaches them to the text tower.

Class names and distillation also use synthetic views, so that the model keeps concepts that no
photo shows. The lower stages and the statistics of the norm layers stay unchanged; `make_views.py`
has computed their output for every view. First, only the projection is fitted, on the features of
the ImageNet network. A state is saved after each epoch, and a run that finds one continues there.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from evidence import Evidence, gather_evidence, load_photos
from imagenet import class_probabilities, folded, imagenet_network, lower_and_upper
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scored import print_scores
from students import runs_of
from text_teacher import TextTeacher
from torch import Tensor, nn
from torch.nn.functional import kl_div, softplus

from app.core.labels import LabelSet, load_label_set
from app.core.model import l2_normalize
from app.dataset.labelled import LabelledPhotos
from app.evaluation.metrics import average_precision
from app.training.run import WeightAverage

HERE = Path(__file__).parent
TEMPERATURE = 2.0  # of the distillation
WARMUP = 0.05
PAIRS = 10.0  # typical number of hard pairs of a photo: divisor of the sum over its pairs
TAUGHT = 0.2  # probability from which the ImageNet network's classes imply a label
RIDGE = 1e-2
STAGES = 7


@dataclass(frozen=True, slots=True)
class Settings:
    """The hyperparameters of a run.

    Attributes:
        epochs: passes over the photos of the train split, each time with one of their views.
        projection_steps: steps that fit the projection first; without any, it is the closed-form
            solution, which uses no photo.
        trained_stages: number of the last stages of the trunk that are trained.
        batch_size: photos per step.
        synthetic: synthetic views per step.
        drawings: drawn images per step.
        learning_rate: peak learning rate.
        weight_decay: decay of all weights except gains, biases and text embeddings.
        positive_weight: weight of positives.
        class_weight: weight of the loss on class names.
        distillation_weight: weight of the distillation loss.
        text_pull: weight of the squared distance of the text embeddings from the teacher's.
        unjudged_weight: weight of unknown pairs that are assumed to be absent.
        ema_decay: decay of the moving average of the weights, which is the result.
        seed: seed of the order and of the choice of views.
        visits: number of times that an epoch shows each photo of a source, 1 if not given; the
            fraction of a number is the probability of one more time.
    """

    epochs: int = 6
    projection_steps: int = 400
    trained_stages: int = 2
    batch_size: int = 64
    synthetic: int = 12
    drawings: int = 4
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    positive_weight: float = 2.0
    class_weight: float = 0.5
    distillation_weight: float = 0.25
    text_pull: float = 1.0
    unjudged_weight: float = 0.1
    ema_decay: float = 0.998
    seed: int = 0
    visits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """One view of each of some training photos, and the other images of the same size.

    Attributes:
        files: N photos.
        maps: (N, C, H, W) float16 feature maps.
        logits: (N, 1000) float16 logits of the ImageNet network.
        synthetic_maps: (M, C, H, W) float16.
        synthetic_logits: (M, 1000) float16.
        drawings: (K, C, H, W) float16 maps of drawings.
    """

    files: tuple[str, ...]
    maps: Tensor
    logits: Tensor
    synthetic_maps: Tensor
    synthetic_logits: Tensor
    drawings: Tensor


def read_views(folder: Path) -> list[View]:
    """Read the views of an output folder of `make_views.py`."""
    synthetic = read_maps(folder / "synthetic.safetensors")
    drawings, _ = read_maps(folder / "drawings.safetensors")
    paths = sorted(folder.glob("view-*.safetensors"))
    return [View(files_of(path), *read_maps(path), *synthetic, drawings) for path in paths]


def files_of(view: Path) -> tuple[str, ...]:
    """Return the photos of an output of `make_views.py`."""
    with safe_open(view, framework="pt") as file:
        return tuple(json.loads(file.metadata()["files"]))


def read_maps(path: Path) -> tuple[Tensor, Tensor]:
    """Return the (N, C, H, W) maps and (N, 1000) logits of one output of `make_views.py`."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("maps"), file.get_tensor("logits")


def freeze(upper: nn.Sequential, stages: int, trained_stages: int) -> None:
    """Freeze all but the last of the seven stages, and the depthwise convolutions of those too.

    Depthwise convolutions hold one percent of the weights, but the gradients of their weights take
    a third of the time of a step on a CPU.
    """
    for stage in upper[: STAGES - stages - trained_stages]:
        stage.requires_grad_(False)
    for module in upper.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.requires_grad_(False)


def solved_projection(texts: Tensor, classifier: Tensor) -> Tensor:
    """Return the least-squares projection W (D, F), which uses no photo.

    With the embeddings of the class names, texts (K, D), and the ImageNet network's classifier
    (K, F), the W of texts @ W = classifier maps the features of an image close to the embeddings of
    its classes.
    """
    gram = texts.T @ texts + RIDGE * torch.eye(texts.shape[1])
    projection: Tensor = torch.linalg.solve(gram, texts.T @ (classifier - classifier.mean(0)))
    return projection


class Student(nn.Module):
    """The trained modules and the constants of their loss.

    Args:
        settings: the hyperparameters.
        network: the ImageNet network; its upper stages are trained in place.
        stages: number of its frozen stages.
        texts: (T, D) the teacher's embeddings.
        evidence: the targets.
    """

    def __init__(
        self, settings: Settings, network: Any, stages: int, texts: Tensor, evidence: Evidence
    ) -> None:
        super().__init__()
        self.settings = settings
        self.upper = lower_and_upper(network, stages)[1]
        freeze(self.upper, stages, settings.trained_stages)
        self.classifier: nn.Module = network.classifier.requires_grad_(False)
        self.head = nn.Linear(network.classifier.in_features, texts.shape[1], bias=False)
        names = evidence.of_class[:, evidence.imagenet].argmax(dim=1)
        solved = solved_projection(texts[evidence.imagenet][names], network.classifier.weight)
        # The scale does not change cosines, but it changes the effect of an optimizer step.
        self.head.weight.data.copy_(solved / solved.norm() * texts.shape[1] ** 0.5)
        self.texts = nn.Parameter(texts.clone())
        self.logit_scale = nn.Parameter(torch.tensor(3.652))
        self.evidence = evidence
        self.teacher_texts = texts
        self.judged = ~evidence.imagenet
        self.names = evidence.imagenet

    def features(self, maps: Tensor) -> Tensor:
        """Return (B, F) pooled features of maps (B, C, H, W)."""
        pooled: Tensor = self.upper(maps.float().contiguous(memory_format=torch.channels_last))
        return pooled

    def logits(self, features: Tensor) -> Tensor:
        """Return the (B, T) logits of features."""
        cosine = l2_normalize(self.head(features)) @ l2_normalize(self.texts).T
        return cosine * self.logit_scale.exp()

    def forward(self, maps: Tensor, taught: Tensor, photos: Tensor) -> Tensor:
        """Return the loss of a batch: P views of photos, then synthetic views, then drawings.

        Args:
            maps: (B, C, H, W) feature maps.
            taught: (V, 1000) logits of the ImageNet network for the views.
            photos: (P,) indices of the photos in the data.
        """
        features, drawn = self.features(maps).tensor_split([len(taught)])
        loss = self.text_loss(features, taught, photos)
        loss = loss + softplus(self.logits(drawn)[:, self.judged]).sum() / len(photos) / PAIRS
        student = (self.classifier(features) / TEMPERATURE).log_softmax(-1)
        target = (taught.float() / TEMPERATURE).softmax(-1)
        distilled = TEMPERATURE**2 * kl_div(student, target, reduction="batchmean")
        return loss + self.settings.distillation_weight * distilled

    def text_loss(self, features: Tensor, taught: Tensor, photos: Tensor) -> Tensor:
        """Return the loss without the distillation."""
        settings, count = self.settings, len(photos)
        logits = self.logits(features)
        present = (class_probabilities(taught) @ self.evidence.of_class).clamp(max=1.0)
        targets, weights = self._targets(logits[:count].detach(), present[:count], photos)
        judged = self._cost(logits[:count, self.judged], targets, weights) / count
        names = logits[:, self.names], present[:, self.names]
        named = self._cost(*names, torch.ones_like(names[1])) / len(features)
        pull = (l2_normalize(self.texts) - self.teacher_texts).square().sum(-1).mean()
        total: Tensor = (judged + settings.class_weight * named) / PAIRS
        return total + settings.text_pull * pull

    def _targets(self, logits: Tensor, present: Tensor, photos: Tensor) -> tuple[Tensor, Tensor]:
        evidence, judged = self.evidence, self.judged
        targets = evidence.targets[photos][:, judged].float()
        weights = evidence.weights[photos][:, judged].float()
        unjudged = evidence.unjudged[photos][:, judged] & (logits[:, judged] < 0)
        present, taught = present[:, judged], evidence.taught[judged]
        said = (targets < 0) & taught & (present >= TAUGHT)
        absent = (targets < 0) & unjudged & ~said
        targets = torch.where(said, present, torch.where(absent, 0.0, targets))
        weights = torch.where(said, 0.5, weights)
        weights = torch.where(absent, self.settings.unjudged_weight, weights)
        return targets, torch.where(targets < 0, 0.0, weights)

    def _cost(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        presence = targets.clamp(min=0.0)
        cost = self.settings.positive_weight * presence * softplus(-logits)
        return ((cost + (1 - presence) * softplus(logits)) * weights).sum()

    def groups(self) -> list[dict[str, object]]:
        """Return the optimizer's groups: no weight decay of gains, biases, scale and texts."""
        parameters = [*self.upper.parameters(), *self.head.parameters()]
        parameters = [p for p in parameters if p.requires_grad]
        decayed = [p for p in parameters if p.ndim >= 2]
        others = [p for p in parameters if p.ndim < 2]
        return [
            {"params": decayed, "weight_decay": self.settings.weight_decay},
            {"params": [*others, self.texts, self.logit_scale], "weight_decay": 0.0},
        ]


@torch.no_grad()
def pooled(student: Student, maps: Tensor, name: str) -> Tensor:
    """Return (N, F) features of maps, in evaluation mode."""
    return torch.cat([student.features(batch) for batch in track(torch.split(maps, 64), name)])


def fit_projection(student: Student, features: Tensor, taught: Tensor, photos: Tensor) -> None:
    """Fit the projection and the scale on fixed features of all training photos, in place."""
    trained = [student.head.weight, student.logit_scale]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=1e-4)
    steps = student.settings.projection_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in track(range(steps), "projection"):
        rows = torch.randint(len(photos), (512,), generator=generator)
        loss = student.text_loss(features[rows], taught[rows], photos[rows])
        torch.autograd.backward(loss, inputs=trained)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()


def measure(student: Student, maps: Tensor, data: LabelledPhotos, label_set: LabelSet) -> None:
    """Print the average precisions on the validation split."""
    with torch.no_grad():
        scores = student.logits(pooled(student, maps, "validation"))[:, : len(data.texts)]
    rows = data.indices("validation")
    targets, files = data.targets[rows], [data.files[i] for i in rows]
    travel = torch.tensor([file.startswith("travel/") for file in files])
    old = average_precision(targets[~travel].numpy(), scores[~travel].numpy())
    print_scores({name: float(old[column]) for name, column in data.classes.items()})
    labels = slice(0, len(label_set.ids))
    ap = average_precision(targets[travel, labels].numpy(), scores[travel, labels].numpy())
    enough = (targets[travel, labels] == 1).sum(dim=0).numpy() >= 8
    named = sorted(
        (float(value), id)
        for value, id, counts in zip(ap, label_set.ids, enough, strict=True)
        if counts and not math.isnan(value)
    )
    mean = sum(value for value, _ in named) / len(named)
    print(f"travel: macro AP {mean:.4f} over {len(named)} labels; lowest: ", end="")
    print(", ".join(f"{id} {value:.3f}" for value, id in named[:14]), flush=True)


def batches_of_an_epoch(
    views: Sequence[View], photos: Mapping[str, int], settings: Settings, epoch: int
) -> list[tuple[View, Tensor]]:
    """Draw the batches of an epoch: each photo in one of its views, each batch in one view.

    Args:
        views: the views.
        photos: the photos to visit.
        settings: batch size, visits and seed.
        epoch: changes the order.

    Returns:
        Views, each with the positions of a batch in it.
    """
    generator = torch.Generator().manual_seed(settings.seed + epoch)
    positions = torch.full((len(views), len(photos)), -1)
    for row, view in zip(positions, views, strict=True):
        row[[photos[file] for file in view.files]] = torch.arange(len(view.files))
    # The first folder of a photo is its source, or the set of travel photos.
    visits = torch.tensor([settings.visits.get(file.partition("/")[0], 1.0) for file in photos])
    times = (visits + torch.rand(len(visits), generator=generator)).long()
    visited = torch.arange(len(photos)).repeat_interleave(times)
    visited = visited[torch.randperm(len(visited), generator=generator)]
    shown = (positions[:, visited] >= 0).float().T.multinomial(1, generator=generator).flatten()
    batches = [
        (view, batch)
        for i, view in enumerate(views)
        for batch in torch.split(positions[i, visited[shown == i]], settings.batch_size)
    ]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def fit(
    student: Student,
    views: Sequence[View],
    photos: Mapping[str, int],
    state: Path,
    after_epoch: list[Callable[[], None]],
) -> None:
    """Train the student in place, from the saved state if there is one; it ends averaged.

    Args:
        student: the modules and their loss.
        views: the views; each photo is in one at least.
        photos: the photos of the train split, each with its index in the data.
        state: file of the saved state.
        after_epoch: called after each epoch, while the weights are averaged.
    """
    settings = student.settings
    average = WeightAverage(student, settings.ema_decay)
    optimizer = torch.optim.AdamW(student.groups(), lr=settings.learning_rate)
    order = {file: position for position, file in enumerate(photos)}
    epochs = [
        batches_of_an_epoch(views, order, settings, epoch) for epoch in range(settings.epochs)
    ]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        settings.learning_rate,
        total_steps=sum(map(len, epochs)),
        pct_start=WARMUP,
        cycle_momentum=False,
    )
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        first = saved["epoch"]
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        average.load_state_dict(saved["average"])
    for epoch in range(first, settings.epochs):
        generator = torch.Generator().manual_seed(settings.seed + epoch)
        total = 0.0
        for view, rows in track(epochs[epoch], f"epoch {epoch + 1}"):
            extra, drawn = (
                torch.randint(len(pool), (size,), generator=generator)
                for pool, size in (
                    (view.synthetic_maps, settings.synthetic),
                    (view.drawings, settings.drawings),
                )
            )
            loss = student(
                torch.cat([view.maps[rows], view.synthetic_maps[extra], view.drawings[drawn]]),
                torch.cat([view.logits[rows], view.synthetic_logits[extra]]),
                torch.tensor([photos[view.files[row]] for row in rows]),
            )
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(student.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            student.logit_scale.data.clamp_(max=math.log(100))
            average.update()
            total += loss.item()
        mean, scale = total / len(epochs[epoch]), student.logit_scale.item()
        print(f"epoch {epoch + 1}: loss {mean:.4f}, scale {scale:.3f}")
        torch.save(
            {
                "epoch": epoch + 1,
                "student": student.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "average": average.state_dict(),
            },
            state,
        )
        with average.applied():
            for act in after_epoch:
                act()


def read_visits(options: Sequence[str]) -> dict[str, float]:
    """Read the numbers of visits, each SOURCE=NUMBER."""
    return {source: float(number) for source, number in (each.split("=") for each in options)}


def refuse_unknown(option: str, given: Iterable[str], known: Set[str]) -> None:
    """Raise SystemExit if an option has an unknown value."""
    if unknown := sorted(set(given) - known):
        raise SystemExit(f"{option}: {', '.join(unknown)}: not in {', '.join(sorted(known))}")


def main() -> None:
    """Write the fine-tuned upper stages, projection and text embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=Path, nargs="+", required=True, help="folders, any sizes")
    for name in ("tower", "classes", "labels", "manifest", "photos", "detections"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="output of another run, to continue from")
    parser.add_argument("--sentences", type=Path, required=True, help="the text teacher's folder")
    parser.add_argument("--basis", type=Path, required=True, help="output of embed_vocabulary.py")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--leave-out", nargs="*", default=[], help="names without positives")
    parser.add_argument("--visits", nargs="*", default=[], metavar="SOURCE=NUMBER")
    numbers = {name: value for name, value in asdict(Settings()).items() if name != "visits"}
    for name, value in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args()
    settings = Settings(
        **{name: getattr(args, name) for name in numbers}, visits=read_visits(args.visits)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)

    label_set = load_label_set(args.labels)
    data = load_photos(args.manifest, args.photos, label_set)
    refuse_unknown("--visits", settings.visits, {file.partition("/")[0] for file in data.files})
    refuse_unknown("--leave-out", args.leave_out, data.classes.keys())
    evidence = gather_evidence(
        data, label_set, args.photos, args.classes, args.detections, args.leave_out
    )
    texts = TextTeacher(args.sentences, args.basis).embed(evidence.texts)
    network = folded(imagenet_network(args.tower))
    first = args.views[0]
    with safe_open(first / "view-0.safetensors", framework="pt") as file:
        stages = int(file.metadata()["stages"])
    student = Student(settings, network, stages, texts, evidence).eval()
    validation = read_maps(first / "validation.safetensors")[0]
    photos = data.indices("train")
    earlier_runs = runs_of(args.start) if args.start else []

    def report() -> None:
        measure(student, validation, data, label_set)

    def save() -> None:
        state = {key: value.contiguous() for key, value in student.state_dict().items()}
        judged = [
            text for text, name in zip(evidence.texts, evidence.imagenet, strict=True) if not name
        ]
        metadata = {
            "stages": str(stages),
            "texts": json.dumps(judged),
            "runs": json.dumps([*earlier_runs, [asdict(settings)]]),
        }
        save_file(state, args.out / "student.safetensors", metadata=metadata)

    if args.start:
        student.load_state_dict(load_file(args.start))
    elif not (args.out / "state.pt").exists():
        if settings.projection_steps:
            maps, logits = read_maps(first / "view-0.safetensors")
            fit_projection(student, pooled(student, maps, "features"), logits, photos)
        report()
        save()
    if settings.epochs:
        views = [view for folder in args.views for view in read_views(folder)]
        trained = {data.files[i]: i for i in photos.tolist()}
        fit(student, views, trained, args.out / "state.pt", [report, save])


if __name__ == "__main__":
    main()
