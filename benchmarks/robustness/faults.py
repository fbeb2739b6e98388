"""Injects external faults into `mumic serve` under load.

python -m benchmarks.robustness.faults weights/mumic-demo

The faults: reloads of another checkpoint, SIGTERM, SIGKILL of a worker, and slow clients. It prints
the outcomes of the concurrent valid requests, and fails if one of them was lost unexpectedly.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

from safetensors.torch import load_file, save_file

from app.core.checkpoint import CARD_FILE, seal
from app.core.checkpoint.layout import WEIGHTS_FILE
from benchmarks.support.http import Response, bodiless_request, jpeg_request, request_once
from benchmarks.support.load_generator import OK, LoadGenerator
from benchmarks.support.photos import photos
from benchmarks.support.processes import tree
from benchmarks.support.serving import Server, mumic_server

CLIENTS = 32
ADMIN_TOKEN = "benchmark-admin-token"
EXIT_TIMEOUT_S = 60
SLOW_CLIENTS_S = 60  # longer than the server's timeouts for slow clients
ROUNDING = 2e-6  # difference of a probability between batches of different size


def server(checkpoint: Path, *options: str) -> contextlib.AbstractContextManager[Server]:
    """Start a server in fp32 on the CPU that logs JSON."""
    environment = {"MUMIC_LOG_FORMAT": "json", "MUMIC_ADMIN_TOKEN": ADMIN_TOKEN}
    options = ("--device", "cpu", "--precision", "fp32", *options)
    return mumic_server(checkpoint, *options, environment=environment)


def modified_copy(checkpoint: Path, folder: Path) -> Path:
    """Copy a checkpoint, with another version and a smaller logit scale.

    Args:
        checkpoint: checkpoint directory.
        folder: parent of the copy.
    """
    copy = Path(shutil.copytree(checkpoint, folder / "modified"))
    weights = load_file(copy / WEIGHTS_FILE)
    save_file(weights | {"logit_scale": weights["logit_scale"] * 0.9}, copy / WEIGHTS_FILE)
    card = json.loads((copy / CARD_FILE).read_text())
    (copy / CARD_FILE).write_text(json.dumps(card | {"version": "modified"}))
    seal(copy)
    return copy


def reloads(checkpoint: Path, times: int) -> bool:
    """Reload two checkpoints in turn under load; return whether no request was affected."""
    expected: dict[str, dict[str, float]] = {}

    def is_consistent(response: Response) -> bool:
        version, scores = _scores(bytes(response.body))
        reference = expected.setdefault(version, scores)
        return all(abs(scores[label] - reference[label]) < ROUNDING for label in reference)

    with tempfile.TemporaryDirectory() as folder:
        checkpoints = [modified_copy(checkpoint, Path(folder)), checkpoint]
        request = jpeg_request(photos(0.3)[0], "all_scores=true")
        with server(checkpoint) as running:
            load = LoadGenerator(running.port, [request], CLIENTS, is_consistent)
            done = 0
            with load.running():
                for number in range(times):
                    load.wait_for_more(20)
                    path = f"/admin/reload?checkpoint={checkpoints[number % 2]}"
                    authorization = f"Authorization: Bearer {ADMIN_TOKEN}"
                    reload = bodiless_request("POST", path, authorization)
                    done += request_once(running.port, reload).status == HTTPStatus.OK
                load.wait_for_more(20)
    first, second = expected.values()
    difference = max(abs(first[label] - second[label]) for label in first)
    print(f"\n{done} of {times} reloads between {len(expected)} versions under load;")
    print(f"their probabilities differ by up to {difference:.3f}")
    _print_outcomes(load.outcomes)
    return set(load.outcomes) == {OK} and done == times


def shutdowns(checkpoint: Path, times: int) -> bool:
    """Send SIGTERM under load; return whether every accepted request was answered."""
    outcomes: Counter[str] = Counter()
    durations_s, accepted, exit_codes = [], 0, set()
    for _ in range(times):
        with server(checkpoint) as running:
            load = LoadGenerator(running.port, [*map(jpeg_request, photos(0.3))], CLIENTS)
            with load.running():
                load.wait_for_more(CLIENTS)
                started = time.monotonic()
                running.process.send_signal(signal.SIGTERM)
                exit_codes.add(running.process.wait(EXIT_TIMEOUT_S))
                durations_s.append(time.monotonic() - started)
            outcomes += load.outcomes
            accepted += sum(line.get("route") == "/predict" for line in _log_records(running.log))
    answered = sum(number for outcome, number in outcomes.items() if outcome[0].isdigit())
    print(f"\n{times} times SIGTERM under load; exit within {max(durations_s):.1f} s, with")
    print(f"{exit_codes}; {accepted} requests were accepted, {answered} were answered")
    _print_outcomes(outcomes)
    return accepted == answered == outcomes[OK] + outcomes["503 draining"]


def kills(checkpoint: Path, times: int) -> bool:
    """Kill one of two workers under load; return whether only its requests were lost."""
    with server(checkpoint, "--workers", "2") as running:
        load = LoadGenerator(running.port, [*map(jpeg_request, photos(0.3))], CLIENTS)
        with load.running():
            for _ in range(times):
                load.wait_for_more(2 * CLIENTS)
                workers = [pid for pid in tree(running.pid)[1:] if _is_worker(pid)]
                os.kill(workers[-1], signal.SIGKILL)
                load.wait_for_more(2 * CLIENTS)
        ready = request_once(running.port, bodiless_request("GET", "/readyz")).status
    print(f"\n{times} times SIGKILL of one of two workers under load; /readyz afterwards: {ready}")
    _print_outcomes(load.outcomes)
    lost = load.outcomes.total() - load.outcomes[OK]
    return lost <= times * CLIENTS and ready == HTTPStatus.OK


def slow_clients(checkpoint: Path, number: int) -> bool:
    """Keep slow connections open under load; return whether the server closed all of them.

    The clients send half of the headers or half of the body, do not read the responses, or close
    their side of the connection.
    """
    request = jpeg_request(photos(0.3)[0])
    unread = bodiless_request("GET", "/labels") * 500
    half = request[: len(request) // 2]
    kinds = [  # bytes to send, and whether the client then closes its side
        (b"POST /pre", False),
        (half, False),
        (unread, False),
        (half, True),
        (request, True),
    ]
    with contextlib.ExitStack() as open_sockets, server(checkpoint) as running:
        load = LoadGenerator(running.port, [request], CLIENTS)
        with load.running():
            connections = []
            for index in range(number):
                connection = socket.create_connection(("127.0.0.1", running.port))
                open_sockets.enter_context(connection)
                content, closes = kinds[index % len(kinds)]
                connection.sendall(content)
                if closes:
                    connection.shutdown(socket.SHUT_WR)
                connections.append(connection)
            time.sleep(SLOW_CLIENTS_S)
        closed = sum(map(_is_closed, connections))
    print(f"\n{number} slow clients for {SLOW_CLIENTS_S} s; {closed} of them were disconnected")
    _print_outcomes(load.outcomes)
    return set(load.outcomes) == {OK} and closed == number


def _scores(body: bytes) -> tuple[str, dict[str, float]]:
    response = json.loads(body)
    labels = response["results"][0]["labels"]
    return response["model"]["version"], {label["id"]: label["confidence"] for label in labels}


def _log_records(log: Path) -> Iterator[dict[str, object]]:
    """Yield the JSON lines of a log; the start-up message is plain text."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        while connection.recv(2**20):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def _print_outcomes(outcomes: Counter[str]) -> None:
    print("; ".join(f"{what}: {number}" for what, number in sorted(outcomes.items())), flush=True)


def main() -> None:
    """Inject the selected faults, by default all."""
    faults: dict[str, tuple[Callable[[Path, int], bool], int]] = {
        "reloads": (reloads, 50),
        "shutdowns": (shutdowns, 20),
        "kills": (kills, 5),
        "slow_clients": (slow_clients, 60),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--only", choices=faults, nargs="+", default=list(faults))
    parser.add_argument("--times", type=int, help="overrides the number of faults of each kind")
    args = parser.parse_args()
    selected = [faults[name] for name in args.only]
    passed = [inject(args.checkpoint, args.times or times) for inject, times in selected]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
