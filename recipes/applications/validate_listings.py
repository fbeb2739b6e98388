"""Measures content validation on listings whose rooms are known, and prints Markdown tables.

    python recipes/applications/validate_listings.py --photos FOLDER --embeddings FILE

FOLDER has the photos: `houses/N_ROOM.jpg` are four rooms of house N, and `travel/photos.csv` lists
travel photos with the labels of each (`positive`, parents included; any other label is unknown).
FILE keeps the embeddings of a first run for the next. docs/applications.md has the tables.

A listing declares four facilities. Photos of some of them are removed at random, so that they are
declared and not there; facilities whose photos stay may be left out of the declaration, so that
they are there and not declared.
"""

import argparse
import csv
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from kept_embeddings import embed
from torch import Tensor

from app.applications.validation import (
    make_rules,
    prompts_of,
    read_declared,
    validate_listing,
)
from app.core.classifier import Classifier
from app.settings import SHIPPED_CHECKPOINT

ROOMS = ("bathroom", "bedroom", "building_facade", "kitchen")
FILE_ROOMS = {"frontal": "building_facade"}  # the names of the files that are no label ids
ROOM_TEXTS = {
    "bathroom": "a bathroom of a house",
    "bedroom": "a room with a bed",
    "building_facade": "the front of a house",
    "kitchen": "a kitchen of a house",
}
# Facilities of the travel photos whose absence from photos of another of them can be assumed.
FACILITIES = ("gym", "swimming_pool", "tennis", "golf", "playground", "parking", "restaurant")
FACILITY_TEXTS = {
    "gym": "a fitness room",
    "swimming_pool": "a pool to swim in",
    "tennis": "a tennis court",
    "golf": "a golf course",
    "playground": "a place for children to play",
    "parking": "a car park",
    "restaurant": "tables of a restaurant",
}
SEEDS = (0, 1, 2)
SYNTHETIC_LISTINGS = 100  # per seed
TRAINING_DIGITS = range(8)  # of a file's sha256 modulo 10; 8 is validation, 9 is test


@dataclass(frozen=True, slots=True)
class Listing:
    """Photos with one facility each."""

    facility_of: dict[str, str]


@dataclass(slots=True)
class Counts:
    """Right and wrong answers for one facility."""

    hits: int = 0
    wrong: int = 0
    missed: int = 0

    def cells(self) -> str:
        """Return precision, recall and the number of listings that have the facility."""
        said, there = self.hits + self.wrong, self.hits + self.missed
        precision = f"{self.hits / said:.3f}" if said else "-"
        recall = f"{self.hits / there:.3f}" if there else "-"
        return f"{precision} | {recall} | {there}"


@dataclass(slots=True)
class Score:
    """Counts by facility."""

    by_facility: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def add(self, facility: str, said: bool, there: bool) -> None:
        """Count one answer."""
        counts = self.by_facility[facility]
        counts.hits += said and there
        counts.wrong += said and not there
        counts.missed += there and not said

    def cells(self, facility: str) -> str:
        """Return the cells of one facility, or of all together."""
        if facility != "all":
            return self.by_facility[facility].cells()
        total = Counts()
        for each in self.by_facility.values():
            total.hits += each.hits
            total.wrong += each.wrong
            total.missed += each.missed
        return total.cells()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    arguments = parser.parse_args()
    classifier = Classifier.load(arguments.checkpoint, device="cpu", precision="fp32")
    houses, travel = real_houses(arguments.photos), travel_photos(arguments.photos)
    names = sorted({*(name for house in houses.values() for name in house.facility_of), *travel})
    embeddings = embed(classifier, arguments.photos, names, arguments.embeddings)
    whole = [each for _, each in sorted(houses.items())]
    unseen = [listing for each in whole if (listing := without_training(arguments.photos, each))]
    for title, listings in (("houses", whole), ("houses, photos that no training used", unseen)):
        number = sum(len(each.facility_of) for each in listings)
        print(f"\n{title}: {len(listings)} listings, {number} photos, {len(SEEDS)} seeds\n")
        print_table(classifier, embeddings, listings, ROOMS, ROOM_TEXTS)
    print(f"\nsynthetic listings: {SYNTHETIC_LISTINGS} per seed, {len(SEEDS)} seeds\n")
    synthetic = make_synthetic(travel, random.Random(0))
    print(f"facilities of validation and test photos: {dict(Counter(travel.values()))}\n")
    print_table(classifier, embeddings, synthetic, FACILITIES, FACILITY_TEXTS)


def real_houses(photos: Path) -> dict[str, Listing]:
    """Read the houses: a listing per number of the files."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted((photos / "houses").glob("*.jpg")):
        house, _, room = path.stem.partition("_")
        found[house][f"houses/{path.name}"] = FILE_ROOMS.get(room, room)
    return {house: Listing(files) for house, files in found.items()}


def without_training(photos: Path, listing: Listing) -> Listing | None:
    """Return a listing without its photos of the training split; None if none is left."""
    left = {
        name: facility
        for name, facility in listing.facility_of.items()
        if not is_training(photos / name)
    }
    return Listing(left) if left else None


def travel_photos(photos: Path) -> dict[str, str]:
    """Read the travel photos that no training used and that show exactly one facility."""
    with (photos / "travel" / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        shown = set(row["positive"].split("|")) & set(FACILITIES)
        if len(shown) == 1 and not is_training(photos / "travel" / row["file"]):
            found[f"travel/{row['file']}"] = shown.pop()
    return found


def make_synthetic(travel: dict[str, str], chance: random.Random) -> list[Listing]:
    """Draw listings: a photo each of four facilities."""
    by_facility: dict[str, list[str]] = defaultdict(list)
    for name, facility in sorted(travel.items()):
        by_facility[facility].append(name)
    return [
        Listing(
            {
                chance.choice(by_facility[facility]): facility
                for facility in chance.sample(sorted(by_facility), 4)
            }
        )
        for _ in range(SYNTHETIC_LISTINGS)
    ]


def is_training(path: Path) -> bool:
    """Return whether a photo was in the training split, which the bytes of its file decide."""
    return int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) % 10 in TRAINING_DIGITS


def print_table(
    classifier: Classifier,
    embeddings: dict[str, Tensor],
    listings: Sequence[Listing],
    facilities: Sequence[str],
    texts: dict[str, str],
) -> None:
    """Validate the listings, and print precision and recall by facility."""
    label, text, undeclared = Score(), Score(), Score()
    label_set = classifier.labels
    scoring = classifier.choose_scoring()
    rules = make_rules(label_set, scoring)
    columns = [label_set.index(id) for id in facilities]
    all_texts = read_declared([texts[id] for id in facilities], label_set)
    text_embeddings = classifier.embed_texts(prompts_of(all_texts, label_set.template))
    for shown, declared in cases(listings, facilities):
        rows = torch.stack([embeddings[name] for name in shown])
        label_logits = classifier.score_embeddings(rows)
        there = set(shown.values())
        result = validate_listing(
            read_declared(declared, label_set),
            label_set,
            label_logits,
            torch.empty(len(rows), 0),
            rules,
            columns,
        )
        for finding in result.declared:
            id = finding.facility.text
            label.add(id, finding.status == "confirmed", id in there)
        seen = {each.label.id for each in result.undeclared}
        for id in set(facilities) - set(declared):
            undeclared.add(id, id in seen, id in there)
        scores = classifier.zero_shot(rows, text_embeddings, scoring)
        result = validate_listing(all_texts, label_set, label_logits, scores, rules, [])
        for id, finding in zip(facilities, result.declared, strict=True):
            if id in declared:
                text.add(id, finding.status == "confirmed", id in there)
    kinds = {id: rule.kind if (rule := rules.labels[label_set.index(id)]) else "-" for id in texts}
    print("| facility | rule | confirmed, by label: precision | recall | listings ", end="")
    print("| confirmed, by text: precision | recall | listings ", end="")
    print("| undeclared: precision | recall | listings |")
    print("|---|---|" + "---:|" * 9)
    for id in (*facilities, "all"):
        cells = " | ".join(score.cells(id) for score in (label, text, undeclared))
        print(f"| `{id}` | {kinds.get(id, '')} | {cells} |".replace("`all`", "all"))


def cases(
    listings: Sequence[Listing], facilities: Sequence[str]
) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the photos that remain of each listing, and what it declares, for each seed."""
    for seed in SEEDS:
        chance = random.Random(seed)
        for listing in listings:
            own = sorted(set(listing.facility_of.values()))
            removed = set(chance.sample(own, chance.randint(0, len(own) - 1)))
            shown = {
                name: each for name, each in listing.facility_of.items() if each not in removed
            }
            declared = sorted(chance.sample(facilities, len(facilities) // 2 + 1))
            yield shown, declared


if __name__ == "__main__":
    main()
