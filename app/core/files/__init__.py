"""Files: YAML with line numbers, atomic writes, suggestions for unknown names."""

from app.core.files.atomic import (
    atomic_file,
    disk_errors,
    refuse_foreign,
    staging_directory,
)
from app.core.files.nearest_name import (
    nearest_names,
    unknown_name_message,
)
from app.core.files.yaml_lines import (
    DUMPER,
    Location,
    Problem,
    ProblemsError,
    load_yaml,
)

__all__ = [
    "DUMPER",
    "Location",
    "Problem",
    "ProblemsError",
    "atomic_file",
    "disk_errors",
    "load_yaml",
    "nearest_names",
    "refuse_foreign",
    "staging_directory",
    "unknown_name_message",
]
