"""Where commands write what is not their result."""

from rich.console import Console

console = Console(stderr=True, highlight=False, soft_wrap=True)
