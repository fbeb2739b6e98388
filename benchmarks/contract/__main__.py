"""schemathesis against `mumic serve`, as users run it: `make contract`.

python -m benchmarks.contract

Two servers, one as it comes and one with all that can be switched on, are asked with every
operation that they describe, in each form of a body: what the document allows, and what it does
not. It fails where an answer is not what the document says, where something forbidden is accepted,
or something allowed is not.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from app.settings import SHIPPED_CHECKPOINT
from benchmarks.support.serving import served

CONFIG = Path(__file__).parent / "schemathesis.toml"
FORMS = ("multipart/form-data", "application/json", "image/*")
# As in schemathesis.toml.
KEY = "the-key-of-the-contract"
SWITCHED_ON = {
    "MUMIC_METRICS_TOKEN": "the-metrics-token-of-the-contract",
    "MUMIC_ADMIN_TOKEN": "the-admin-token-of-the-contract",
    "MUMIC_ALLOW_IMAGE_URLS": "true",
    "MUMIC_URL_ALLOW_HTTP": "true",
    "MUMIC_URL_ALLOW_HOSTS": '["127.0.0.1"]',  # no name is ever looked up
}


def ask(url: str, form: str, max_examples: int) -> int:
    """Run schemathesis on all operations, with bodies of one form; gives its exit status."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", f"{url}/openapi.json", "--max-examples", str(max_examples)]
    hooks = {"SCHEMATHESIS_HOOKS": "benchmarks.contract.hooks", "CONTRACT_FORM": form}
    return subprocess.run(command, env=os.environ | hooks, check=False).returncode


def main() -> None:
    """Ask both servers in each form; fail where one answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-examples", type=int, default=15, help="of each operation")
    args = parser.parse_args()
    began, failed = time.monotonic(), []
    with TemporaryDirectory() as folder:
        keys = Path(folder, "keys")
        keys.write_text(f"contract:{KEY}\n", encoding="utf-8")
        for switched in ({}, {"MUMIC_API_KEYS_FILE": str(keys), **SWITCHED_ON}):
            os.environ |= switched
            with served(SHIPPED_CHECKPOINT) as url:
                for form in FORMS:
                    what = f"{form}, {'all switched on' if switched else 'as it comes'}"
                    print(f"\n==== {what}", flush=True)
                    if ask(url, form, args.max_examples):
                        failed.append(what)
    print(f"\n{time.monotonic() - began:.0f} s")
    if failed:
        sys.exit(f"wrong answers: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
