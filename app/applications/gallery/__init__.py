"""Gallery selection: which photos of a listing to show first, and why (section 6)."""

from app.applications.gallery.contact_sheet import (
    write_contact_sheet,
)
from app.applications.gallery.gallery import (
    DEFAULT_COUNT,
    MAX_WEIGHT,
    Choice,
    Gallery,
    LeftOut,
    LeftOutReason,
    category_weights,
    check_count,
    choose_gallery,
    flaw_error,
)
from app.applications.gallery.quality import (
    Flaw,
    Quality,
    measure_quality,
)
from app.applications.gallery.selection import (
    Gain,
)

__all__ = [
    "DEFAULT_COUNT",
    "MAX_WEIGHT",
    "Choice",
    "Flaw",
    "Gain",
    "Gallery",
    "LeftOut",
    "LeftOutReason",
    "Quality",
    "category_weights",
    "check_count",
    "choose_gallery",
    "flaw_error",
    "measure_quality",
    "write_contact_sheet",
]
