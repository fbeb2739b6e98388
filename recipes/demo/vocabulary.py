"""The training texts of the demonstration checkpoint's text tower.

They come from the label set, the ImageNet class names and WordNet's nouns. Most have no training
photo; they give label texts without training photos a meaningful embedding.
"""

import random
from pathlib import Path

import yaml

TEMPLATE = "a photo with {}"
# WordNet's lexicographer files of visible things (act, animal, artifact, body, event,
# food, group, location, object, person, phenomenon, plant, substance, time).
VISIBLE_FILES = {"04", "05", "06", "08", "11", "13", "14", "15", "17", "18", "19", "20", "27", "28"}
ADJECTIVES = (
    "indoor outdoor wooden stone snowy sunny rainy old modern empty crowded large small red blue "
    "green white black yellow round glass metal traditional luxury rustic colourful open closed "
    "private public beautiful broken tall wild young tropical frozen floating"
).split()
GLOSS_WORDS = 16


def imagenet_names(path: Path) -> list[str]:
    """Read the 1000 class names in output order, without the header line."""
    return path.read_text(encoding="utf-8").splitlines()[1:]


def label_texts(path: Path) -> list[str]:
    """Return the names and descriptions of a label set."""
    labels = yaml.safe_load(path.read_text(encoding="utf-8"))["labels"]
    return [text for label in labels for text in (label["name"].lower(), label["description"])]


def wordnet_nouns(folder: Path) -> list[tuple[str, str]]:
    """Return (noun, gloss) pairs of WordNet's visible common nouns, in file order."""
    pairs: dict[str, str] = {}
    with (folder / "data.noun").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("  "):
                continue
            fields, _, gloss = line.partition(" | ")
            words = fields.split()
            if words[1] not in VISIBLE_FILES:
                continue
            definition = gloss.split(";")[0].strip()
            for i in range(int(words[3], 16)):
                noun = words[4 + 2 * i].replace("_", " ")
                if noun.islower() and not any(c.isdigit() for c in noun) and noun.count(" ") < 3:
                    pairs.setdefault(noun, definition)
    return list(pairs.items())


def phrases(labels: Path, imagenet: Path, wordnet: Path, seed: int) -> list[str]:
    """Return all prompts that the text tower is distilled on, without duplicates.

    Args:
        labels: a label set (YAML).
        imagenet: the teacher's class names, one a line.
        wordnet: the folder of WordNet's database files.
        seed: seed of the composed phrases and of the choice of templates.
    """
    rng = random.Random(seed)
    nouns = wordnet_nouns(wordnet)
    common = [noun for noun, _ in nouns if " " not in noun and len(noun) < 11]
    names = imagenet_names(imagenet)
    singles = [synonym for name in names for synonym in name.split(", ")]
    core = label_texts(labels) + names + singles
    composed = [f"{rng.choice(ADJECTIVES)} {rng.choice(common)}" for _ in range(8_000)]
    pairs = [f"{rng.choice(common)} and {rng.choice(common)}" for _ in range(3_000)]
    glosses = [
        f"{noun}, {' '.join(gloss.split()[:GLOSS_WORDS])}"
        for noun, gloss in rng.sample(nouns, 12_000)
    ]
    wide = [noun for noun, _ in nouns] + composed + pairs + glosses
    texts = [TEMPLATE.format(text) for text in core + wide]
    texts += [template.format(text) for text in core for template in ("{}", "a photo of {}")]
    others = ("{}", "a photo of {}", "a photo of a {}")
    texts += [rng.choice(others).format(noun) for noun, _ in nouns[::6]]
    return list(dict.fromkeys([*texts, "a photo"]))
