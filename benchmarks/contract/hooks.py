"""Hooks for schemathesis: facts that openapi.yaml does not contain.

These are photos, label ids, and the place of the options for each format of a request body: they
are query parameters, form fields or JSON properties, but OpenAPI cannot tie a query parameter to a
content type. schemathesis imports this module; CONTRACT_BODY_FORMAT is the body format of a run.
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

BODY_FORMAT = os.environ["CONTRACT_BODY_FORMAT"]
# The only image URL of a run; no server listens on this port.
URL = "http://127.0.0.1:9/photo.jpg"
LABELS = load_label_set(SHIPPED_CHECKPOINT / "labels.yaml")
TEXTS = [label.name for label in LABELS.labels]
MIN_TIMEOUT_MS = 60_000
# Form fields are text: a value of another type becomes a valid text, and 0 a valid boolean.
TEXT_FIELDS = {"labels", "template", "all_scores"}
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
PHOTOS = {
    media_type: [encoded(sample(name).resize((320, 240)), image_format) for name in NAMES]
    for media_type, image_format in FORMATS.items()
}

for media_type, files in PHOTOS.items():
    schemathesis.openapi.media_type(media_type, st.sampled_from(files))
# There is at least one image, and the categories are those of the label set.
GALLERY_OPTIONS = {"count": 1, "weights": {LABELS.categories[0]: 2}}


@schemathesis.hook
def before_load_schema(_: HookContext, raw_schema: dict[str, Any]) -> None:
    """Keep one body format with its own options, and insert the ids of the labels."""
    for path in ("/predict", "/embed", "/zero-shot", "/validate", "/gallery"):
        operation = raw_schema["paths"][path]["post"]
        contents = operation["requestBody"]["content"]
        required = contents["multipart/form-data"]["schema"]["required"]
        # schemathesis 4.32 cannot process `not` in a schema with a file (ValueError: Unsupported
        # type: 'Binary').
        contents["multipart/form-data"]["schema"].pop("not", None)
        operation["requestBody"]["content"] = {BODY_FORMAT: contents[BODY_FORMAT]}
        for parameter in operation["parameters"]:
            parameter["required"] = parameter["name"] in required
        if BODY_FORMAT != "image/*":
            operation["parameters"] = [p for p in operation["parameters"] if p["in"] != "query"]
    for node in _nodes(raw_schema):
        for name, ids in (("labels", LABELS.ids), ("categories", LABELS.categories)):
            for option in (f"include_{name}", f"exclude_{name}"):
                if option in node.get("properties", {}):
                    node["properties"][option]["items"] = {"enum": list(ids)}
                if node.get("name") == option:
                    node["schema"]["items"] = {"enum": list(ids)}


@schemathesis.hook
def map_case(_: HookContext, case: Case) -> Case:
    """Raise short deadlines, and insert real texts and photos into valid requests."""
    timeout = str(case.headers.get("X-Request-Timeout-Ms", ""))
    if timeout.isdecimal() and 0 < int(timeout) < MIN_TIMEOUT_MS:
        case.headers["X-Request-Timeout-Ms"] = str(MIN_TIMEOUT_MS)
    if case.meta is not None and case.meta.generation.mode.is_positive:
        for options in (case.query, case.body):
            if isinstance(options, dict):
                _insert_real_values(options)
    for node in _nodes(case.body):
        if isinstance(node.get("url"), str):
            node["url"] = URL
    return case


@schemathesis.hook
def filter_failure(_: HookContext, failure: Failure, _case: Case, _response: Response) -> bool:
    """Return whether to report a failure: a text field of a form cannot have a wrong type."""
    mistyped = set(re.findall(r"(\w+): Incorrect type", failure.message))
    return BODY_FORMAT != "multipart/form-data" or not mistyped or not mistyped <= TEXT_FIELDS


def _insert_real_values(options: dict[str, Any]) -> None:
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
    options |= {name: value for name, value in GALLERY_OPTIONS.items() if options.get(name)}
    images, files = options.get("images"), PHOTOS["image/jpeg"]
    if BODY_FORMAT == "multipart/form-data" and isinstance(images, list):
        options["images"] = [files[n % len(files)] for n in range(len(images))]
    if BODY_FORMAT == "application/json" and isinstance(images, list):
        for number, image in enumerate(images):
            data = base64.b64encode(files[number % len(files)]).decode()
            if isinstance(image, str):
                images[number] = data
                continue
            if image.get("id") is not None:
                image["id"] = f"{number} {image['id']}"[:256]
            if image.get("url") is None or number == 0:  # at least one image is valid
                image["data"] = data
                image["url"] = None


def _nodes(document: Any) -> list[dict[str, Any]]:
    """Return every JSON object in a document."""
    if isinstance(document, list):
        return [node for child in document for node in _nodes(child)]
    if not isinstance(document, dict):
        return []
    return [document, *(node for child in document.values() for node in _nodes(child))]
