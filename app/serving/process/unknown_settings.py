"""Variables that were meant as settings and are none, which nobody would notice."""

import re
from collections.abc import Iterator, Mapping

from app.core.files import nearest
from app.settings import Settings

PREFIX = "MUMIC_"
# What Kubernetes sets in every pod for a service whose name is mumic or begins with mumic-.
SERVICE_LINK = re.compile(
    r"""(\w+_)? ( SERVICE_HOST | SERVICE_PORT(_\w+)?
                | PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))? ) =
      | (\w+_)? PORT = (tcp|udp|sctp)://""",
    re.VERBOSE,
)


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """Tell of each variable that begins as a setting's does and is none.

    Args:
        environment: names and values. Their case is as irrelevant as it is for settings.

    Yields:
        A line for each, with the setting that is most like it, if any is.
    """
    known = {name.upper() for name in Settings.model_fields}
    for variable, value in environment.items():
        prefix, name = variable[: len(PREFIX)].upper(), variable[len(PREFIX) :].upper()
        if prefix != PREFIX or name in known or SERVICE_LINK.match(f"{name}={value}"):
            continue
        close = nearest(name, known, 1)
        hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
        yield f"{variable} is no setting and changes nothing{hint}"
