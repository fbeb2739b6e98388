"""From an archive of photos to targets: what to annotate, what to ask, what the votes say.

Section 3.2 of the MuMIC paper.
"""

from app.annotation.archive import (
    read_embeddings,
    read_strata,
)
from app.annotation.candidates import (
    similar,
    stratified,
)
from app.annotation.consolidation import (
    DEFAULT_THRESHOLD,
    mark_parents,
    to_targets,
)
from app.annotation.grading import (
    ALL,
    as_lines,
    grade,
    pick_threshold,
    threshold_steps,
    write_report,
)
from app.annotation.label_studio import (
    LOCAL_FILES,
    PROJECT_FILES,
    labelling_config,
    read_export,
    tasks,
    write_project,
)
from app.annotation.queries import (
    embed_queries,
)
from app.annotation.questions import (
    Grouping,
    dump_grouping,
    load_grouping,
    make_questions,
    oddities,
)
from app.annotation.splitting import (
    split,
)
from app.annotation.votes import (
    read_votes,
)

__all__ = [
    "ALL",
    "DEFAULT_THRESHOLD",
    "LOCAL_FILES",
    "PROJECT_FILES",
    "Grouping",
    "as_lines",
    "dump_grouping",
    "embed_queries",
    "grade",
    "labelling_config",
    "load_grouping",
    "make_questions",
    "mark_parents",
    "oddities",
    "pick_threshold",
    "read_embeddings",
    "read_export",
    "read_strata",
    "read_votes",
    "similar",
    "split",
    "stratified",
    "tasks",
    "threshold_steps",
    "to_targets",
    "write_project",
    "write_report",
]
