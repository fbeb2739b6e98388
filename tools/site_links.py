"""MkDocs hook: replaces links to files outside docs/, which the site does not have, by text."""

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Replace links that leave docs/ by their text."""
    docs = Path(config["docs_dir"]).resolve()
    folder = Path(page.file.abs_src_path).parent

    def replaced(match: re.Match[str]) -> str:
        inside = (folder / match[2]).resolve().is_relative_to(docs)
        return match[0] if inside else match[1]

    return LINK.sub(replaced, markdown)
