"""Content validation: the declared facilities of a listing against its photos (section 6)."""

from app.applications.validation.declaration import (
    Facility,
    prompts_of,
    read_declared,
)
from app.applications.validation.findings import (
    Evidence,
    Finding,
    Status,
    Undeclared,
    Validation,
    validate_listing,
)
from app.applications.validation.rules import (
    Rule,
    RuleKind,
    Rules,
    make_rules,
)

__all__ = [
    "Evidence",
    "Facility",
    "Finding",
    "Rule",
    "RuleKind",
    "Rules",
    "Status",
    "Undeclared",
    "Validation",
    "make_rules",
    "prompts_of",
    "read_declared",
    "validate_listing",
]
