"""The report of an evaluation: tables, plots, Markdown, HTML and JSON."""

from app.evaluation.report.evaluate import (
    run_evaluation,
)
from app.evaluation.report.evaluation_report import (
    Evaluation,
    write_evaluation_report,
)
from app.evaluation.report.report_plots import (
    draw_report_plots,
)
from app.evaluation.report.tables import (
    TextTable,
    summary_tables,
    table_to_markdown,
    table_to_text,
)
from app.evaluation.report.training_log import (
    read_logit_scales,
)

__all__ = [
    "Evaluation",
    "TextTable",
    "draw_report_plots",
    "read_logit_scales",
    "run_evaluation",
    "summary_tables",
    "table_to_markdown",
    "table_to_text",
    "write_evaluation_report",
]
