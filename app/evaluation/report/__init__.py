"""The report of an evaluation: tables, plots, Markdown, HTML and JSON."""

from app.evaluation.report.evaluation_report import (
    Evaluation,
    write_report,
)
from app.evaluation.report.report_plots import (
    draw_plots,
)
from app.evaluation.report.tables import (
    Table,
    as_markdown,
    as_text,
    summary_tables,
)
from app.evaluation.report.training_log import (
    read_logit_scales,
)

__all__ = [
    "Evaluation",
    "Table",
    "as_markdown",
    "as_text",
    "draw_plots",
    "read_logit_scales",
    "summary_tables",
    "write_report",
]
