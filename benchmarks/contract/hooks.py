"""What schemathesis cannot know from openapi.yaml: photos, label ids, and which form has what.

It is imported by schemathesis itself. CONTRACT_FORM names the form of body that a run is about: in
the document every form has its options in a place of its own, but a parameter cannot be tied to a
content type.
"""

import base64
import os
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure

from app.core.labels import load_label_set
from app.settings import SHIPPED_CHECKPOINT
from tests.support.photos import NAMES, encoded, sample

FORM = os.environ["CONTRACT_FORM"]
# The only address that a run may name: of this machine, where nobody listens.
URL = "http://127.0.0.1:9/photo.jpg"
LABELS = load_label_set(SHIPPED_CHECKPOINT / "labels.yaml")
TEXTS = [label.name for label in LABELS.labels]
ENOUGH_MS = 60_000
# All is text in a form: what is to be a text is one, whatever it was, and 0 is a way to say false.
TEXTS_IN_FORMS = {"labels", "template", "all_scores"}
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
PHOTOS = {
    media_type: [encoded(sample(name).resize((160, 120)), name_of_format) for name in NAMES]
    for media_type, name_of_format in FORMATS.items()
}

for media_type, files in PHOTOS.items():
    schemathesis.openapi.media_type(media_type, st.sampled_from(files))


@schemathesis.hook
def before_load_schema(_: HookContext, raw_schema: dict[str, Any]) -> None:
    """Keep one form of body with its own options, and name the labels that there are."""
    for path in ("/predict", "/embed", "/zero-shot"):
        operation = raw_schema["paths"][path]["post"]
        contents = operation["requestBody"]["content"]
        required = contents["multipart/form-data"]["schema"]["required"]
        # schemathesis 4.32 cannot read it beside a file (ValueError: Unsupported type: 'Binary').
        contents["multipart/form-data"]["schema"].pop("not", None)
        operation["requestBody"]["content"] = {FORM: contents[FORM]}
        for parameter in operation["parameters"]:
            parameter["required"] = parameter["name"] in required
        if FORM != "image/*":
            operation["parameters"] = [p for p in operation["parameters"] if p["in"] != "query"]
    for node in _nodes(raw_schema):
        for name, known in (("labels", LABELS.ids), ("categories", LABELS.categories)):
            for option in (f"include_{name}", f"exclude_{name}"):
                if option in node.get("properties", {}):
                    node["properties"][option]["items"] = {"enum": list(known)}
                if node.get("name") == option:
                    node["schema"]["items"] = {"enum": list(known)}


@schemathesis.hook
def map_case(_: HookContext, case: Case) -> Case:
    """Give a request enough time, and texts and photos that are some where it is to be accepted."""
    asked = str(case.headers.get("X-Request-Timeout-Ms", ""))
    if asked.isdecimal() and 0 < int(asked) < ENOUGH_MS:
        case.headers["X-Request-Timeout-Ms"] = str(ENOUGH_MS)
    if case.meta is not None and case.meta.generation.mode.is_positive:
        for options in (case.query, case.body):
            if isinstance(options, dict):
                _make_sensible(options)
    for node in _nodes(case.body):
        if isinstance(node.get("url"), str):
            node["url"] = URL
    return case


@schemathesis.hook
def filter_failure(_: HookContext, failure: Failure, _case: Case, _response: Response) -> bool:
    """Whether it is one: no value has another type in a form."""
    mistyped = set(re.findall(r"(\w+): Incorrect type", failure.message))
    return FORM != "multipart/form-data" or not mistyped or not mistyped <= TEXTS_IN_FORMS


def _make_sensible(options: dict[str, Any]) -> None:
    if "checkpoint" in options:
        options["checkpoint"] = str(SHIPPED_CHECKPOINT)
    if str(options.get("all_scores")).lower() == "true":
        options.pop("max_labels", None)
        options.pop("min_confidence", None)
    for name in ("labels", "texts"):
        if isinstance(options.get(name), list):
            options[name] = TEXTS[: len(options[name])]
    if "template" in options:
        options["template"] = "a photo with {}"
    images, files = options.get("images"), PHOTOS["image/jpeg"]
    if FORM == "multipart/form-data" and isinstance(images, list):
        options["images"] = [files[n % len(files)] for n in range(len(images))]
    if FORM == "application/json" and isinstance(images, list):
        for number, image in enumerate(images):
            if image.get("id") is not None:
                image["id"] = f"{number} {image['id']}"[:256]
            if image.get("url") is None or number == 0:  # or no image of the request may be good
                image["data"] = base64.b64encode(files[number % len(files)]).decode()
                image["url"] = None


def _nodes(part: Any) -> list[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(part, list):
        return [node for child in part for node in _nodes(child)]
    if not isinstance(part, dict):
        return []
    return [part, *(node for child in part.values() for node in _nodes(child))]
