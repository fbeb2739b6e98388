"""Measures gallery selection on listings made of the Houses photos, and prints a table.

    python recipes/applications/gallery_listings.py --photos FOLDER

FOLDER has the files of the Houses dataset (Ahmed and Moustafa 2016), such as `12_bathroom.jpg`: the
house and the kind of room. docs/applications.md has the table and describes its rows and columns.
"""

import argparse
import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from edits import blurred, cropped, darkened, edited, encoded, text_page
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from app.applications.gallery import (
    Quality,
    category_weights,
    choose_gallery,
    measure_quality,
)
from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, stack
from app.settings import SHIPPED_CHECKPOINT

COUNT = 4  # photos of a gallery
ROOMS = ("frontal", "bedroom", "bathroom", "kitchen")
SPLITS = {8: "validation", 9: "test"}  # by the sha256 of a file modulo 10; the rest is training
BATCH = 16


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of a listing.

    Attributes:
        room: its kind of room; empty for a page of text.
        picture: the file that it shows, also as a copy; empty for a page of text.
        is_bad: whether it is dark, blurred or a page of text.
        data: the bytes of the image file.
    """

    room: str
    picture: str
    is_bad: bool
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """The photos of a listing and what the model says of them.

    Attributes:
        photos: N photos.
        embeddings: (N, D).
        logits: (N, C).
        qualities: of the N photos.
    """

    photos: Sequence[Photo]
    embeddings: torch.Tensor
    logits: torch.Tensor
    qualities: Sequence[Quality]


@dataclass(frozen=True, slots=True)
class Faults:
    """What a person would change in one gallery.

    Attributes:
        bad: chosen photos that are dark, blurred or text.
        duplicates: chosen photos of a picture that is chosen before.
        repeats: chosen photos of a kind of room that is chosen before, while another kind of the
            listing is not chosen at all.
        not_building: 1 if the first photo is usable and does not show the building.
        rooms: kinds of rooms shown by photos that are not bad.
    """

    bad: int
    duplicates: int
    repeats: int
    not_building: int
    rooms: int

    @property
    def changes(self) -> int:
        """Photos that a person would change; each counts once."""
        return self.bad + self.duplicates + self.repeats + self.not_building


def judge(photos: Sequence[Photo], chosen: Sequence[int]) -> Faults:
    """Judge a gallery by the rule above.

    Args:
        photos: of the listing.
        chosen: positions in order.
    """
    gallery = [photos[position] for position in chosen]
    available = {photo.room for photo in photos if not photo.is_bad}
    good = [photo for photo in gallery if not photo.is_bad]
    rooms = {photo.room for photo in good}
    duplicates = repeats = 0
    pictures: set[str] = set()
    seen: set[str] = set()
    for photo in good:
        if photo.picture in pictures:
            duplicates += 1
        elif photo.room in seen and rooms < available:
            repeats += 1
        pictures.add(photo.picture)
        seen.add(photo.room)
    first = gallery[0]
    not_building = int(not first.is_bad and first.room != "frontal" and "frontal" in available)
    return Faults(len(gallery) - len(good), duplicates, repeats, not_building, len(rooms))


def split_of(data: bytes) -> str:
    """Return the split of a photo by its bytes."""
    return SPLITS.get(int(hashlib.sha256(data).hexdigest(), 16) % 10, "training")


def build_photos(
    rooms: dict[str, str], pool: dict[str, list[str]], files: dict[str, bytes], rng: random.Random
) -> list[Photo]:
    """Build the photos of a listing: its rooms, more rooms, copies and bad photos.

    Two rooms get a near-duplicate (cropped to 92 %, lighter), one photo is also there dark (0.15 of
    its values), one blurred (by 1.5 % of its longer side), one page is text, and three kinds of
    rooms get a photo of another house.

    Args:
        rooms: file of each kind of room.
        pool: files of each kind of room to take further photos from.
        files: the bytes of all files.
        rng: chooses.
    """
    photos = [Photo(room, file, False, files[file]) for room, file in rooms.items()]
    originals = list(photos)
    for photo in rng.sample(originals, 2):
        photos.append(Photo(photo.room, photo.picture, False, edited(photo.data, cropped)))
    for edit in (darkened, blurred):
        photo = rng.choice(originals)
        photos.append(Photo(photo.room, photo.picture, True, edited(photo.data, edit)))
    photos.append(Photo("", "", True, encoded(text_page(rng))))
    for room in rng.sample(sorted(rooms), 3):
        others = [file for file in pool[room] if file != rooms[room]]
        file = rng.choice(others)
        photos.append(Photo(room, file, False, files[file]))
    return photos


def score(photos: Sequence[Photo], classifier: Classifier) -> Listing:
    """Run the model and the measures of quality on a listing."""
    pixels = [
        load_pixels(each.data, ImageLimits(), classifier.preprocess).values for each in photos
    ]
    batches = [
        classifier.score_images(stack(pixels[start : start + BATCH]))
        for start in range(0, len(pixels), BATCH)
    ]
    return Listing(
        photos,
        torch.cat([batch.embeddings for batch in batches]),
        torch.cat([batch.logits for batch in batches]),
        [measure_quality(each) for each in pixels],
    )


def shuffled(listing: Listing, seed: int) -> Listing:
    """Return a listing in another order of upload."""
    order = np.random.default_rng(seed).permutation(len(listing.photos)).tolist()
    return Listing(
        [listing.photos[place] for place in order],
        listing.embeddings[order],
        listing.logits[order],
        [listing.qualities[place] for place in order],
    )


def cluster(embeddings: NDArray[np.float32], seed: int) -> list[int]:
    """Choose the photo nearest to each k-means centre, in the order of upload."""
    model = KMeans(min(COUNT, len(embeddings)), n_init=10, random_state=seed).fit(embeddings)
    distances = model.transform(embeddings)
    return sorted(set(np.argmin(distances, axis=0).tolist()))


def galleries(listing: Listing, classifier: Classifier, seed: int) -> dict[str, list[int]]:
    """Return the gallery of each method: positions in order."""
    labels = classifier.labels
    embeddings = listing.embeddings.numpy()
    usable = [place for place, each in enumerate(listing.qualities) if each.flaw is None]

    def chosen(logits: torch.Tensor) -> list[int]:
        weights = category_weights(labels, {})
        gallery = choose_gallery(
            listing.embeddings, logits, listing.qualities, labels, weights, COUNT
        )
        return [choice.photo for choice in gallery.choices]

    return {
        "first 4 photos": list(range(COUNT)),
        "k-means": cluster(embeddings, seed),
        "k-means, usable photos only": [usable[i] for i in cluster(embeddings[usable], seed)],
        "gallery without labels": chosen(torch.full_like(listing.logits, -100)),
        "gallery": chosen(listing.logits),
    }


def read_listings(
    folder: Path, classifier: Classifier, set_name: str, count: int, seed: int
) -> list[Listing]:
    """Build and score the listings of one set.

    Args:
        folder: the Houses photos.
        classifier: the checkpoint.
        set_name: `validation` or `test`, whose listings combine rooms of different houses of that
            split, each file at most once as a room; `houses`, whose listings are real houses with
            all four rooms.
        count: the most listings.
        seed: of the choices.
    """
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.jpg"))}
    rng = random.Random(seed)
    pool: dict[str, list[str]] = defaultdict(list)
    houses: dict[str, dict[str, str]] = defaultdict(dict)
    for name, data in files.items():
        house, room = name.removesuffix(".jpg").split("_")
        houses[house][room] = name
        if set_name in ("houses", split_of(data)):
            pool[room].append(name)
    if set_name == "houses":
        complete = [rooms for rooms in houses.values() if len(rooms) == len(ROOMS)]
        chosen = rng.sample(complete, min(count, len(complete)))
    else:
        columns = [rng.sample(pool[room], len(pool[room])) for room in ROOMS]
        chosen = [dict(zip(ROOMS, each, strict=True)) for each in zip(*columns, strict=False)]
    return [score(build_photos(rooms, pool, files, rng), classifier) for rooms in chosen[:count]]


def print_table(listings: Sequence[Listing], classifier: Classifier, seeds: Sequence[int]) -> None:
    """Print the means of each method over the listings, each in several orders of upload."""
    found: dict[str, list[Faults]] = defaultdict(list)
    for seed in seeds:
        for listing in (shuffled(each, seed) for each in listings):
            for method, chosen in galleries(listing, classifier, seed).items():
                found[method].append(judge(listing.photos, chosen))
    print(
        "| method | photos to change | rooms of 4 | near-duplicates | bad | repeated room | first |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for method, faults in found.items():
        cells = [
            fmean(each.changes for each in faults),
            fmean(each.rooms for each in faults),
            fmean(each.duplicates for each in faults),
            fmean(each.bad for each in faults),
            fmean(each.repeats for each in faults),
            fmean(each.not_building for each in faults),
        ]
        print(f"| {method} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the Houses photos")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    parser.add_argument("--sets", nargs="+", default=["test", "houses"])
    parser.add_argument("--listings", type=int, default=60, help="most listings of a set")
    parser.add_argument("--orders", type=int, default=5, help="orders of upload")
    arguments = parser.parse_args()
    classifier = Classifier.load(arguments.checkpoint, device="cpu", precision="fp32")
    for name in arguments.sets:
        listings = read_listings(arguments.photos, classifier, name, arguments.listings, seed=0)
        size = len(listings[0].photos)
        print(f"\n{name}: {len(listings)} listings of {size} photos, {arguments.orders} orders\n")
        print_table(listings, classifier, range(arguments.orders))


if __name__ == "__main__":
    main()
