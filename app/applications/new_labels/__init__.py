"""New labels at run time: a text and a few example photos make a label of a checkpoint."""

from app.applications.new_labels.background import (
    Background,
)
from app.applications.new_labels.changes import (
    LabelEdit,
    add_label,
    now,
    remove_label,
    write_edit,
    write_version,
)
from app.applications.new_labels.contradictions import (
    Contradiction,
)
from app.applications.new_labels.documents import (
    FittedDocument,
    LabelDocument,
    label_document,
    label_of_document,
    text_of_document,
)
from app.applications.new_labels.examples import (
    ExamplePhoto,
    check_examples,
    fit_examples,
)
from app.applications.new_labels.fitting import (
    fit_probe,
    text_probe,
)
from app.applications.new_labels.new_label import (
    DEFAULT_CATEGORY,
    MAX_EXAMPLES,
    LabelText,
    NewLabel,
    fit_against,
    fit_label,
    make_label,
)

__all__ = [
    "DEFAULT_CATEGORY",
    "MAX_EXAMPLES",
    "Background",
    "Contradiction",
    "ExamplePhoto",
    "FittedDocument",
    "LabelDocument",
    "LabelEdit",
    "LabelText",
    "NewLabel",
    "add_label",
    "check_examples",
    "fit_against",
    "fit_examples",
    "fit_label",
    "fit_probe",
    "label_document",
    "label_of_document",
    "make_label",
    "now",
    "remove_label",
    "text_of_document",
    "text_probe",
    "write_edit",
    "write_version",
]
