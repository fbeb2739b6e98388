"""A `mumic serve` of its own for a measurement, on a free loopback port."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def served(checkpoint: Path, precision: str = "auto") -> Iterator[str]:
    """Start a server, give its address, stop it.

    Args:
        checkpoint: checkpoint directory.
        precision: as MUMIC_PRECISION.
    """
    with serving_process(checkpoint, "--precision", precision) as (url, _):
        yield url


@contextlib.contextmanager
def serving_process(checkpoint: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Start a server, give its address and process id, stop it.

    Args:
        checkpoint: checkpoint directory.
        options: of `mumic serve`.
    """
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    command += ["--checkpoint", str(checkpoint), *options]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert server.stderr is not None
        line = server.stderr.readline()
        address = re.search(r"http://\S+:\d+", line)
        if address is None:
            raise SystemExit(line + server.stderr.read())
        print(line.strip(), file=sys.stderr)
        # Its log would fill the pipe: read it to the end beside the measurement.
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        yield address.group(), server.pid
        drain.terminate()
    finally:
        server.terminate()
        server.wait(30)
