"""The label set: reading, queries, writing, and the built-in one."""

import math
from pathlib import Path

import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.files import nearest_names
from app.core.labels import (
    Label,
    LabelSet,
    Thresholds,
    builtin_label_set,
    dump_label_set,
    load_label_set,
    render,
)
from app.errors import LabelSetError, OptionError

# All classes named in the text and tables of the paper.
PAPER_CLASSES = (
    "Air-conditioner",
    "Animal (not pets)",
    "Art/decor",
    "Bathroom",
    "Bed",
    "Bedroom",
    "Building",
    "Ceiling fan",
    "Dining area",
    "Fireplace",
    "Food",
    "Golf",
    "Historical structure",
    "Indoor swimming pool",
    "Kitchen",
    "Lobby",
    "Mirror",
    "Natural landscape",
    "Outdoor swimming pool",
    "Parking",
    "Patio",
    "Pets",
    "Room",
    "Sightseeing",
    "Street",
    "Sunset",
    "Swimming pool",
    "Toaster",
    "Winter",
)


def label(id: str, *parents: str) -> Label:
    return Label(id=id, name=id, description=f"a {id}", category="Inside", parents=parents)


def test_custom_label_set_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        'version: "2024"\n'
        "labels:\n"
        "  - {id: art, name: Art, description: 'art, a picture', category: Inside,"
        " prompt: description}\n"
        "  - id: hot_tub\n"
        "    name: >\n      Hot\n       Tub\n"
        "    description: a warm pool\n"
        "    category: Café\n"
        "    parents: [art]\n"
        "    positive_weight: 3\n"
        "    thresholds: {serve: 0.7}\n"
        "  - {id: attic, name: Attic, description: an attic, category: Inside,"
        " evidence: none, thresholds: {serve: null}}\n",
        encoding="utf-8-sig",
    )
    labels = load_label_set(path)
    assert labels.version == "2024"
    assert labels.ids == ["art", "hot_tub", "attic"]
    assert labels.categories == ["Inside", "Café"]
    assert labels.prompts[:2] == ["a photo with art, a picture", "a photo with hot tub"]
    art, tub, attic = labels.labels
    assert tub.name == "Hot Tub"
    assert (art.parents, art.positive_weight, art.thresholds.serve) == ((), 10.0, 0.5)
    assert (tub.parents, tub.positive_weight) == (("art",), 3.0)
    assert tub.thresholds == Thresholds(serve=0.7, store=0.05)
    assert (art.evidence, attic.evidence, attic.thresholds.serve) == (None, "none", None)
    assert labels.serve_thresholds.tolist() == pytest.approx([0.5, 0.7, math.inf])


def test_ancestors_are_distinct_and_nearest_first() -> None:
    labels = LabelSet(
        version="1",
        labels=(
            label("suite", "bedroom", "room"),
            label("bedroom", "room"),
            label("room", "place"),
            label("place"),
        ),
    )
    assert labels.ancestors("suite") == ["bedroom", "room", "place"]
    assert labels.ancestors("place") == []
    assert labels.index("room") == 2
    for lookup in (labels.index, labels.ancestors):
        with pytest.raises(ValueError, match="unknown label 'rom'; did you mean 'room'"):
            lookup("rom")


def test_render_replaces_only_placeholder() -> None:
    assert render("a {} in it", "{0} {braces}") == "a {0} {braces} in it"
    with pytest.raises(OptionError, match=r'template: must contain "\{\}"'):
        render("a photo", "cat")


def test_nearest_names_ignores_case_and_dissimilar_names() -> None:
    assert nearest_names("Swiming-Pool", ["sauna", "swimming_pool"]) == ["swimming_pool"]
    assert nearest_names("SOFA", ["Sofa", "bed"]) == ["Sofa"]
    assert nearest_names("qqqq", ["sauna", "swimming_pool"]) == []


def test_label_set_created_in_code_is_validated() -> None:
    with pytest.raises(ValidationError, match=r"labels\[1\]\.id: 'a' is already the id"):
        LabelSet(version="1", labels=(label("a"), label("a")))
    with pytest.raises(ValidationError, match="unknown label 'c'"):
        LabelSet(version="1", labels=(label("a"), label("b", "c")))


def test_five_thousand_labels_load(tmp_path: Path) -> None:
    labels = LabelSet(
        version="1",
        labels=tuple(label(f"l{i}", *([f"l{i - 1}"] if i else [])) for i in range(5000)),
    )
    dump_label_set(labels, tmp_path / "many.yaml")
    assert load_label_set(tmp_path / "many.yaml") == labels
    assert len(labels.ancestors("l4999")) == 4999


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
LABEL_SETS = st.lists(
    st.builds(
        Label,
        id=st.from_regex(r"[a-z0-9][a-z0-9_]{0,20}", fullmatch=True),
        name=TEXTS,
        description=TEXTS,
        category=TEXTS,
        prompt=st.sampled_from(["name", "description"]),
        positive_weight=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        thresholds=st.builds(Thresholds, serve=st.none() | st.floats(0, 1), store=st.floats(0, 1)),
        evidence=st.sampled_from([None, "human", "pseudo", "none"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=(lambda it: it.id, lambda it: " ".join(it.text.lower().split())),
).map(
    # The first label is the parent of all others.
    lambda labels: LabelSet(
        version="1.0",
        labels=(
            labels[0],
            *(one.model_copy(update={"parents": (labels[0].id,)}) for one in labels[1:]),
        ),
    )
)


@given(labels=LABEL_SETS)
def test_dumped_label_set_loads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, labels: LabelSet
) -> None:
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    dump_label_set(labels, path)
    assert load_label_set(path) == labels


def test_dump_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    bath = label("bath", "spa").model_copy(
        update={"evidence": "none", "thresholds": Thresholds(serve=None)}
    )
    dump_label_set(LabelSet(version="1.0", labels=(label("spa"), bath)), path)
    assert path.read_text() == (
        "version: '1.0'\n"
        "template: a photo with {}\n"
        "labels:\n"
        "- id: spa\n"
        "  name: spa\n"
        "  description: a spa\n"
        "  category: Inside\n"
        "  prompt: name\n"
        "  positive_weight: 10.0\n"
        "  thresholds: {serve: 0.5, store: 0.05}\n"
        "- id: bath\n"
        "  name: bath\n"
        "  description: a bath\n"
        "  category: Inside\n"
        "  parents: [spa]\n"
        "  prompt: name\n"
        "  positive_weight: 10.0\n"
        "  thresholds: {serve: null, store: 0.05}\n"
        "  evidence: none\n"
    )
    with pytest.raises(LabelSetError, match="cannot be written"):
        dump_label_set(builtin_label_set(), tmp_path / "no folder" / "my.yaml")


def test_travel_label_set_matches_paper() -> None:
    travel = builtin_label_set()
    assert len(travel.labels) == 120
    assert len(travel.categories) == 8
    by_name = {one.name: one for one in travel.labels}
    assert set(PAPER_CLASSES) <= by_name.keys()
    historical = by_name["Historical structure"]
    assert (
        historical.description
        == "historical structure, a building or structure with historical value"
    )
    assert historical.category == "Outside"
    for pool in ("indoor_swimming_pool", "outdoor_swimming_pool"):
        assert travel.ancestors(pool) == ["swimming_pool"]
    # Section 5.3: the first two perform better with the description, the others with the name.
    assert by_name["Art/decor"].prompt == historical.prompt == "description"
    assert by_name["Parking"].prompt == by_name["Mirror"].prompt == "name"


def test_travel_prompts_fit_32_tokens() -> None:
    tokenizer = open_clip.SimpleTokenizer()
    with_start_and_end = {
        prompt: len(tokenizer.encode(prompt)) + 2 for prompt in builtin_label_set().prompts
    }
    assert {prompt: n for prompt, n in with_start_and_end.items() if n > 32} == {}


def test_unknown_builtin_label_set_lists_known_names() -> None:
    with pytest.raises(LabelSetError, match=r"unknown label set 'travels'; did you mean 'travel'"):
        builtin_label_set("travels")
