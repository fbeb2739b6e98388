"""Tests running servers against their OpenAPI document with schemathesis: `make contract`.

python -m benchmarks.contract

It starts two servers, one with the default settings and one with every optional feature. For each,
and for each format of a request body, schemathesis sends valid and invalid requests to every
operation. It fails if a response does not match the document, if an invalid request is accepted, or
if a valid one is refused.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from app.settings import SHIPPED_CHECKPOINT
from benchmarks.support.serving import mumic_server

CONFIG = Path(__file__).parent / "schemathesis.toml"
BODY_FORMATS = ("multipart/form-data", "application/json", "image/*")
# The key and the tokens are also in schemathesis.toml.
API_KEY = "contract-api-key"
ALL_FEATURES = {
    "MUMIC_METRICS_TOKEN": "contract-metrics-token",
    "MUMIC_ADMIN_TOKEN": "contract-admin-token",
    "MUMIC_ALLOW_IMAGE_URLS": "true",
    "MUMIC_URL_ALLOW_HTTP": "true",
    "MUMIC_URL_ALLOW_HOSTS": '["127.0.0.1"]',  # no DNS lookups
}


def run_schemathesis(url: str, body_format: str, max_examples: int) -> int:
    """Run schemathesis on all operations; return its exit status.

    Args:
        url: base URL of the server.
        body_format: content type of the request bodies, one of `BODY_FORMATS`.
        max_examples: examples per operation.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", f"{url}/openapi.json", "--max-examples", str(max_examples)]
    hooks = {"SCHEMATHESIS_HOOKS": "benchmarks.contract.hooks", "CONTRACT_BODY_FORMAT": body_format}
    return subprocess.run(command, env=os.environ | hooks, check=False).returncode


def main() -> None:
    """Test both servers with each body format; fail if one run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-examples", type=int, default=15, help="per operation")
    args = parser.parse_args()
    started, failed = time.monotonic(), []
    with TemporaryDirectory() as folder:
        keys = Path(folder, "keys")
        keys.write_text(f"contract:{API_KEY}\n", encoding="utf-8")
        configurations = {
            "default settings": {},
            "all features": {"MUMIC_API_KEYS_FILE": str(keys), **ALL_FEATURES},
        }
        for configuration, environment in configurations.items():
            with mumic_server(SHIPPED_CHECKPOINT, environment=environment) as server:
                for body_format in BODY_FORMATS:
                    name = f"{body_format}, {configuration}"
                    print(f"\n==== {name}", flush=True)
                    if run_schemathesis(server.url, body_format, args.max_examples):
                        failed.append(name)
    print(f"\n{time.monotonic() - started:.0f} s")
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
