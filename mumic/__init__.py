"""MuMIC as a library: tag, embed and score photos from Python.

>>> import mumic
>>> tagger = mumic.load()
>>> for photo in tagger.tag(["photo.jpg"]):
...     print(photo.id, [tag.label.name for tag in photo.tags])
"""

from app import __version__
from app.core.labels import Label, Tag
from app.errors import ImageError, MumicError, OptionError, TextError
from app.tagger import (
    EmbeddedPhoto,
    LabelScore,
    ScoredPhoto,
    TaggedPhoto,
    Tagger,
    load,
)

__all__ = [
    "EmbeddedPhoto",
    "ImageError",
    "Label",
    "LabelScore",
    "MumicError",
    "OptionError",
    "ScoredPhoto",
    "Tag",
    "TaggedPhoto",
    "Tagger",
    "TextError",
    "__version__",
    "load",
]
