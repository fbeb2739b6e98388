"""The one place where errors become exit codes.

0: done. 1: the command failed, or failed for some of its photos. 2: the call was wrong.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.console import console
from app.errors import InputError, MumicError

# Modules that a plain install does not bring, and the extra that does.
EXTRA_OF = dict.fromkeys(
    "lightning_fabric markdown_it matplotlib optuna pyarrow sklearn tensorboard".split(), "train"
) | {
    "lancedb": "search",
    "openTSNE": "atlas",
    "opentelemetry": "traces",
}
UNKNOWN_PROPAGATOR = re.compile(r"Propagator (.*) not found")  # when OpenTelemetry is imported
NO_TEMPORARY_DIRECTORY = "No usable temporary directory"  # Python's error text


@contextmanager
def exit_codes() -> Iterator[None]:
    """Print an expected error as one line on stderr, and exit with its code."""
    try:
        yield
    except InputError as error:
        _exit(2, str(error))
    except MumicError as error:
        _exit(1, str(error))
    except FileNotFoundError as error:
        if NO_TEMPORARY_DIRECTORY not in str(error):
            raise
        _exit(1, f"{error.strerror}; PyTorch needs one: set TMPDIR")
    except ValueError as error:
        found = UNKNOWN_PROPAGATOR.match(str(error))
        if found is None:
            raise
        _exit(2, f"OTEL_PROPAGATORS: no propagator {found[1]!r}; default: tracecontext,baggage")
    except ModuleNotFoundError as error:
        name = error.name or ""
        extra = EXTRA_OF.get(name.partition(".")[0])  # a submodule may be the missing one
        if extra is None:
            raise
        _exit(1, f"{name} is missing; pip install 'mumic[{extra}]'")


def _exit(code: int, problem: str) -> None:
    console.print(f"mumic: {problem}", markup=False)
    sys.exit(code)
