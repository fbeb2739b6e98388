"""The questions to annotators, the Label Studio project that asks them, and the votes."""

from app.annotation.questions.label_studio import read_label_studio_export
from app.annotation.questions.questions import (
    Questionnaire,
    dump_questionnaire,
    load_questionnaire,
    make_questions,
    question_warnings,
)
from app.annotation.questions.run import run_tasks
from app.annotation.questions.votes import VOTE_COLUMNS, VoteTally, read_votes

__all__ = [
    "VOTE_COLUMNS",
    "Questionnaire",
    "VoteTally",
    "dump_questionnaire",
    "load_questionnaire",
    "make_questions",
    "question_warnings",
    "read_label_studio_export",
    "read_votes",
    "run_tasks",
]
