"""Writes the report of an evaluation: tables and plots as Markdown, HTML and JSON."""

from app.evaluation.report.evaluation_report import (
    Evaluation,
)
from app.evaluation.report.run import (
    run_evaluation,
)
from app.evaluation.report.tables import (
    TextTable,
    table_to_markdown,
    table_to_text,
)

__all__ = [
    "Evaluation",
    "TextTable",
    "run_evaluation",
    "table_to_markdown",
    "table_to_text",
]
