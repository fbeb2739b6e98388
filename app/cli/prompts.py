"""`mumic prompts`."""

import sys

from app.cli.console import console
from app.cli.request_command import request_command
from app.evaluation.requests import PromptsRequest


@request_command(PromptsRequest)
def prompts_command(request: PromptsRequest) -> None:
    """Choose name or description as each label's text, by average precision."""
    from app.evaluation.prompts import run_prompts

    sys.stdout.write(run_prompts(request, console))
