"""Finds `MUMIC_*` environment variables that are not settings, such as mistyped names."""

import re
from collections.abc import Iterator, Mapping

from app.core.files import nearest_names
from app.settings import Settings

PREFIX = "MUMIC_"
# Kubernetes sets these in every pod for a service named mumic or mumic-*.
SERVICE_LINK = re.compile(
    r"""(\w+_)? ( SERVICE_HOST | SERVICE_PORT(_\w+)?
                | PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))? ) =
      | (\w+_)? PORT = (tcp|udp|sctp)://""",
    re.VERBOSE,
)


def find_unknown_settings(environment: Mapping[str, str]) -> Iterator[str]:
    """Find variables with the prefix of settings that are not settings.

    Args:
        environment: names and values. As for settings, the case of names does not matter.

    Yields:
        A log line per variable, with the closest valid name if there is one.
    """
    known = {name.upper() for name in Settings.model_fields}
    for variable, value in environment.items():
        prefix, name = variable[: len(PREFIX)].upper(), variable[len(PREFIX) :].upper()
        if prefix != PREFIX or name in known or SERVICE_LINK.match(f"{name}={value}"):
            continue
        close = nearest_names(name, known, 1)
        hint = f"; the closest valid name is {PREFIX}{close[0]}" if close else ""
        yield f"Unknown setting {variable}{hint}"
