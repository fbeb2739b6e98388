"""Commands that measure give the AP of the cosines where every probability rounds to 0 or 1.

One checkpoint is like a stock CLIP: at its scale of 100, all cosines lie between 0.2 and 0.3, so
that each sigmoid is exactly 1 in float32. The cosines of the other one lie around 0, and its scale
is so high that the probabilities of every method round to 0 or 1.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn

from app.baselines.asl.classifier import load_asl, write_asl
from app.core.checkpoint import load_model, read_checkpoint
from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, normalize
from app.core.labels import Label, LabelSet
from app.dataset.labelled import LabelledPhotos, load_labelled_photos
from app.tagger import Tagger
from app.training.config import TrainConfig
from app.training.run import train
from app.training.tuning import Search, tune
from tests.support.command import Run, mumic
from tests.support.photos import NAMES, sample
from tests.support.ranking import naive_average_precision
from tests.support.tiny import CONFIG, write_tiny

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
Command = Callable[..., Run]
LABELS = LabelSet(
    version="1",
    labels=(
        Label(id="pets", name="Pets", description="an animal that lives in a house", category="A"),
        Label(id="temple", name="Temple", description="a place of worship", category="B"),
        Label(id="flowers", name="Flowers", description="plants with petals", category="B"),
    ),
)
IDS = LABELS.ids
DESCRIPTIONS = [f"a photo with {label.description}" for label in LABELS.labels]
PHOTOS_PER_SAMPLE = 8
CHECKPOINTS = {"CLIP": (100.0, 0.25), "high scale": (50_000.0, None)}  # scale, mean cosine
STILL = TrainConfig(
    learning_rate=0.0,
    batch_size=8,
    epochs=1,
    freeze_text=True,
    max_logit_scale=11.0,
)


@dataclass(frozen=True)
class Saturated:
    """Photos, a checkpoint whose probabilities are 0 or 1, and the cosines of both.

    Attributes:
        checkpoint: its directory.
        photos: the folder of the photos.
        manifest: labels of all photos, in each split.
        classifier: the loaded checkpoint.
        files: N photos.
        images: (N, D) unit rows.
    """

    checkpoint: Path
    photos: Path
    manifest: Path
    classifier: Classifier
    files: list[str]
    images: Floats

    @property
    def scale(self) -> float:
        """The factor of the cosines."""
        return math.exp(self.classifier.logit_scale)

    def cosines(self, texts: list[str]) -> Floats:
        """Return the (N, T) cosines with texts, in float64."""
        found: Floats = self.images @ self.classifier.embed_texts(texts).double().numpy().T
        return found

    def data(self) -> LabelledPhotos:
        """Return the targets of the manifest."""
        return load_labelled_photos(self.manifest, self.photos, LABELS)

    def rows(self, split: str) -> list[int]:
        """Return the positions of the photos of a split."""
        parts = [line.split(",")[1] for line in self.manifest.read_text().splitlines()[1:]]
        return [i for i, part in enumerate(parts) if part == split]

    def average_precisions(self, scores: Floats, split: str = "validation") -> list[float]:
        """Return the AP of each label's (N,) scores on a split."""
        rows = self.rows(split)
        data = self.data()
        targets = data.targets[:, list(data.classes.values())].double().numpy()
        return [naive_average_precision(targets[rows, c], scores[rows, c]) for c in range(len(IDS))]


def read_pixels(classifier: Classifier, paths: list[Path]) -> Tensor:
    """Decode photos as (N, 3, S, S) uint8."""
    files = [path.read_bytes() for path in paths]
    return torch.stack([load_pixels(f, ImageLimits(), classifier.preprocess).values for f in files])


@pytest.fixture(scope="module", params=CHECKPOINTS)
def saturated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Saturated:
    """Labels follow the cosines with each label's description, in five of six photos."""
    folder = tmp_path_factory.mktemp("saturated")
    scale, mean_cosine = CHECKPOINTS[request.param]
    checkpoint = write_tiny(
        folder / "checkpoint", LABELS, logit_scale=math.log(scale), mean_cosine=mean_cosine
    )
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    photos = folder / "photos"
    photos.mkdir()
    files = [f"{name}-{i}.png" for name in NAMES for i in range(PHOTOS_PER_SAMPLE)]
    for n, file in enumerate(files):
        left, top = 15 * (n % PHOTOS_PER_SAMPLE), 9 * (n % PHOTOS_PER_SAMPLE)
        crop = sample(NAMES[n // PHOTOS_PER_SAMPLE]).crop((left, top, left + 120, top + 120))
        crop.resize((64, 64)).save(photos / file)
    pixels = read_pixels(classifier, [photos / file for file in files])
    images = classifier.embed_images(pixels).double().numpy()
    cosines = images @ classifier.embed_texts(DESCRIPTIONS).double().numpy().T
    present = cosines > np.median(cosines, axis=0)
    present ^= np.random.default_rng(0).random(present.shape) < 1 / 6
    manifest = folder / "manifest.csv"
    lines = ["file,part,positive,negative"]
    for n, file in enumerate(files):
        sides = ("|".join(np.array(IDS)[present[n] == side]) for side in (True, False))
        lines.append(",".join([file, ("train", "validation", "validation")[n % 3], *sides]))
    manifest.write_text("\n".join(lines) + "\n")
    return Saturated(checkpoint, photos, manifest, classifier, files, images)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], saturated: Saturated
) -> Command:
    """Run a command on the validation split."""

    def run(command: str, *arguments: str | Path) -> Run:
        where = ("--manifest", saturated.manifest, "--photos", saturated.photos, "--device", "cpu")
        split = ("--part", "validation")
        found = mumic(monkeypatch, capsys, command, *arguments, *where, *split)
        assert found.code == 0, found.err
        return found

    return run


def test_probabilities_of_the_checkpoint_are_saturated(
    saturated: Saturated, request: pytest.FixtureRequest
) -> None:
    images = torch.from_numpy(saturated.images).float()
    for texts in (LABELS.prompts, DESCRIPTIONS):
        embeddings = saturated.classifier.embed_texts(texts)
        if request.node.callspec.params["saturated"] == "CLIP":
            cosines = saturated.cosines(texts)
            assert 0.2 < cosines.min() < cosines.max() < 0.3
            logits = saturated.classifier.zero_shot(images, embeddings, "sigmoid")
            assert (logits.sigmoid() == 1).all()
            continue
        for method in ("sigmoid", "pair", "softmax"):
            probabilities = saturated.classifier.zero_shot(images, embeddings, method).sigmoid()
            apart = (probabilities > 1e-6) & (probabilities < 1 - 1e-6)
            assert apart.float().mean() < 0.1


def test_evaluate_reports_ap_of_cosines(saturated: Saturated, run: Command, tmp_path: Path) -> None:
    run("evaluate", "--checkpoint", saturated.checkpoint, "--out", tmp_path, "--resamples", "5")
    (numbers,) = json.loads((tmp_path / "metrics.json").read_text())["checkpoints"].values()
    found = [each["average_precision"]["value"] for each in numbers["classes"]]
    cosines = saturated.cosines(LABELS.prompts)
    expected = saturated.average_precisions(cosines)
    assert found == pytest.approx(expected, abs=1e-6)
    everything = numbers["subsets"][0]
    assert everything["macro_map"]["value"] == pytest.approx(np.mean(expected), abs=1e-6)
    data, rows = saturated.data(), saturated.rows("validation")
    targets = data.targets[rows][:, list(data.classes.values())].double().numpy()
    pooled = naive_average_precision(targets.ravel(), cosines[rows].ravel())
    assert everything["gap"]["value"] == pytest.approx(pooled, abs=1e-6)


def test_compare_reports_ap_of_cosines(saturated: Saturated, run: Command) -> None:
    methods = ("sigmoid", "pair", "softmax")
    models = [f"{method}={saturated.checkpoint}:{method}" for method in methods]
    out = run("compare", *models, "--resamples", "5", "--json").out
    cosines = saturated.cosines(LABELS.prompts)
    scaled = saturated.scale * cosines
    others = [np.logaddexp.reduce(np.delete(scaled, c, axis=1), axis=1) for c in range(len(IDS))]
    scores = {
        "sigmoid": cosines,
        "pair": cosines - saturated.cosines(["a photo"]),
        "softmax": scaled - np.stack(others, axis=1),
    }
    for method, found in json.loads(out)["methods"].items():
        values = [each["average_precision"]["value"] for each in found["classes"].values()]
        expected = saturated.average_precisions(scores[method])
        assert values == pytest.approx(expected, abs=1e-6)


def test_compare_reports_ap_of_asl_logits(
    saturated: Saturated, run: Command, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = load_model(read_checkpoint(saturated.checkpoint))
    head = nn.Linear(saturated.images.shape[1], len(IDS))
    head.weight.data *= 1e4
    write_asl(
        tmp_path / "asl",
        model.clip.visual,
        head,
        CONFIG,
        names=IDS,
        exif_orientation=True,
        training={},
        metrics={},
    )
    read = load_asl(tmp_path / "asl")
    paths = [saturated.photos / file for file in saturated.files]
    pixels = read_pixels(saturated.classifier, paths)
    with torch.inference_mode():
        images = normalize(pixels, saturated.classifier.preprocess, torch.float32)
        logits = read.head(read.visual(images)).double().numpy()
    assert set(np.unique(torch.from_numpy(logits).float().sigmoid().round(decimals=6))) <= {0, 1}
    models = (f"ASL={tmp_path / 'asl'}", f"CLIP={saturated.checkpoint}")
    found = json.loads(run("compare", *models, "--resamples", "5", "--json").out)["methods"]["ASL"]
    values = [each["average_precision"]["value"] for each in found["classes"].values()]
    assert values == pytest.approx(saturated.average_precisions(logits), abs=1e-6)


def test_prompts_are_chosen_by_ap_of_cosines(
    saturated: Saturated, run: Command, tmp_path: Path
) -> None:
    chosen = run(
        *("prompts", "--checkpoint", saturated.checkpoint, "--out", tmp_path / "chosen"),
        *("--min-positives", "3", "--level", "0.5"),
    )
    table = {line.split()[0]: line for line in chosen.out.splitlines() if line}
    by_name = saturated.average_precisions(saturated.cosines(LABELS.prompts))
    by_description = saturated.average_precisions(saturated.cosines(DESCRIPTIONS))
    for id, name_ap, description_ap in zip(IDS, by_name, by_description, strict=True):
        assert f" {name_ap:6.3f} {description_ap:6.3f} " in table[id]
    assert "description, changed: better" in chosen.out
    labels = read_checkpoint(tmp_path / "chosen").labels.labels
    assert "description" in [label.prompt for label in labels]


def test_thresholds_warn_of_saturated_labels(
    saturated: Saturated, run: Command, tmp_path: Path
) -> None:
    out = tmp_path / "fitted"
    fitted = run(
        *("thresholds", "--checkpoint", saturated.checkpoint, "--out", out),
        *("--min-positives", "3"),
    )
    warning = " ".join(fitted.err.split())
    assert "labels are saturated: " in warning
    assert "no threshold lies between equal probabilities" in warning
    reference = read_checkpoint(out).card.metrics["score_histograms"]
    assert all(sum(reference[id]["counts"]) == len(saturated.rows("validation")) for id in IDS)
    assert all(len(set(reference[id]["edges"])) > 5 for id in IDS)


def test_training_selects_epoch_by_ap_of_cosines(
    saturated: Saturated, tmp_path: Path, progress: Progress
) -> None:
    init = read_checkpoint(saturated.checkpoint)
    result = train(init, saturated.data(), STILL, tmp_path, progress=progress)
    expected = saturated.average_precisions(saturated.cosines(LABELS.prompts))
    found = [result.validation[id] for id in IDS]
    assert found == pytest.approx(expected, abs=1e-6)
    assert result.measures["macro_map"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_tuning_compares_trials_by_ap_of_cosines(
    saturated: Saturated, tmp_path: Path, progress: Progress
) -> None:
    init, search = (
        read_checkpoint(saturated.checkpoint),
        Search(trials=1, low=math.log(saturated.scale) - 0.1, high=math.log(saturated.scale)),
    )
    (trial,) = tune(init, saturated.data(), STILL, search, tmp_path, progress=progress)
    expected = saturated.average_precisions(saturated.cosines(LABELS.prompts))
    assert trial.macro_map == pytest.approx(np.mean(expected), abs=1e-6)


def test_tagger_orders_labels_by_cosines(saturated: Saturated) -> None:
    tagger = Tagger(saturated.classifier)
    photos = [saturated.photos / file for file in saturated.files]

    def orders(texts: list[str]) -> list[list[str]]:
        return [[texts[i] for i in np.argsort(-row)] for row in saturated.cosines(texts)]

    for scoring in ("sigmoid", "pair", "softmax"):
        for texts in (DESCRIPTIONS, DESCRIPTIONS[::-1]):
            scored = tagger.zero_shot(photos, texts, template="{}", scoring=scoring)
            assert [[each.label for each in photo.scores] for photo in scored] == orders(texts)
    tagged = tagger.tag(photos, all_scores=True)
    prompts = dict(zip(IDS, LABELS.prompts, strict=True))
    assert [[prompts[tag.label.id] for tag in photo.tags] for photo in tagged] == orders(
        LABELS.prompts
    )
