"""Faults from outside, under load, on a `mumic serve` of its own.

python -m benchmarks.robustness.faults weights/mumic-demo

Another checkpoint takes over, again and again; the server is told to stop; a worker is killed;
clients are slow. It prints what became of the good requests meanwhile, and fails where one was lost
that should not have been.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from safetensors.torch import load_file, save_file

from app.core.checkpoint import CARD_FILE, seal
from app.core.checkpoint.directory import WEIGHTS_FILE
from benchmarks.support.client import Askers, get, raw_request, send
from benchmarks.support.photos import photos
from benchmarks.support.processes import stop, tree

CLIENTS = 32
TOKEN = "only-for-this-measurement"
STARTING_S = 60
ROUNDING = 2e-6  # of a probability, by the batch that a photo is in


@dataclass(frozen=True, slots=True)
class Server:
    """A running `mumic serve`.

    Args:
        process: its first process.
        port: where it listens.
        log: what it wrote so far.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Callable[[], str]


@contextlib.contextmanager
def serving(checkpoint: Path, *options: str) -> Iterator[Server]:
    """Start a server that logs JSON, and end it."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--device", "cpu"]
    command += ["--precision", "fp32", "--checkpoint", str(checkpoint), *options]
    environment = os.environ | {"MUMIC_LOG_FORMAT": "json", "MUMIC_ADMIN_TOKEN": TOKEN}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        with path.open("wb") as log:
            process = subprocess.Popen(command, env=environment, stderr=log)
        try:
            yield Server(process, _port(path), path.read_text)
        finally:
            stop(process, STARTING_S)


def _port(log: Path) -> int:
    until = time.monotonic() + STARTING_S
    while time.monotonic() < until:
        if found := re.search(r"listens on http://\S+:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit(f"the server did not start: {log.read_text()}")


def another(checkpoint: Path, folder: Path) -> Path:
    """A copy with another version and other probabilities."""
    copy = Path(shutil.copytree(checkpoint, folder / "another"))
    weights = load_file(copy / WEIGHTS_FILE)
    save_file(weights | {"logit_scale": weights["logit_scale"] * 0.9}, copy / WEIGHTS_FILE)
    card = json.loads((copy / CARD_FILE).read_text())
    (copy / CARD_FILE).write_text(json.dumps(card | {"version": "another"}))
    seal(copy)
    return copy


def swaps(checkpoint: Path, times: int) -> bool:
    """Another checkpoint takes over under load, there and back."""
    request = raw_request(photos(0.3)[0], "all_scores=true")
    expected: dict[str, dict[str, float]] = {}

    def consistent(body: bytes) -> bool:
        version, scores = _scores(body)
        wanted = expected.setdefault(version, scores)
        return all(abs(scores[label] - wanted[label]) < ROUNDING for label in wanted)

    with tempfile.TemporaryDirectory() as folder:
        both = [another(checkpoint, Path(folder)), checkpoint]
        with serving(checkpoint) as server:
            askers = Askers(server.port, [request], CLIENTS, consistent)
            done = 0
            with askers.asking():
                for number in range(times):
                    askers.wait_for(20)
                    path = f"/admin/reload?checkpoint={both[number % 2]}"
                    bearer = f"Authorization: Bearer {TOKEN}"
                    done += send(server.port, "POST", path, bearer).status == HTTPStatus.OK
                askers.wait_for(20)
    print(f"\n{done} of {times} swaps between {len(expected)} versions under load:")
    first, second = expected.values()
    apart = max(abs(first[label] - second[label]) for label in first)
    print(f"their probabilities are up to {apart:.3f} apart")
    return _told(askers.counts) and done == times and len(expected) == len(both)


def stops(checkpoint: Path, times: int) -> bool:
    """SIGTERM under load: what the server has begun is answered, and it ends."""
    counts: Counter[str] = Counter()
    seconds, accepted, answered, codes = [], 0, 0, set()
    for _ in range(times):
        with serving(checkpoint) as server:
            askers = Askers(server.port, [raw_request(photo) for photo in photos(0.3)], CLIENTS)
            with askers.asking():
                askers.wait_for(CLIENTS)
                began = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                codes.add(server.process.wait(STARTING_S))
                seconds.append(time.monotonic() - began)
            counts += askers.counts
            logged = server.log().splitlines()[1:]  # after the announcement
            lines = [json.loads(line) for line in logged]
            accepted += sum(line.get("route") == "/predict" for line in lines)
            answered += sum(times for told, times in askers.counts.items() if told[0].isdigit())
    print(
        f"\n{times} times SIGTERM under load: the process ended after {max(seconds):.1f} s at most"
    )
    print(f"with {codes}; {accepted} requests were accepted, {answered} were answered:")
    _told(counts)
    return accepted == answered and counts["200"] + counts["503 draining"] == answered


def kills(checkpoint: Path, times: int) -> bool:
    """SIGKILL of one of two workers: what it had is lost, the other goes on, a new one comes."""
    with serving(checkpoint, "--workers", "2") as server:
        askers = Askers(server.port, [raw_request(photo) for photo in photos(0.3)], CLIENTS)
        with askers.asking():
            for _ in range(times):
                askers.wait_for(2 * CLIENTS)
                workers = [pid for pid in tree(server.process.pid)[1:] if _listens(pid)]
                os.kill(workers[-1], signal.SIGKILL)
                askers.wait_for(2 * CLIENTS)
        ready = get(server.port, "/readyz").status
    print(f"\n{times} times SIGKILL of one of two workers under load; ready afterwards: {ready}")
    _told(askers.counts)
    lost = askers.counts.total() - askers.counts["200"]
    return lost <= times * CLIENTS and ready == HTTPStatus.OK


def slow_clients(checkpoint: Path, number: int) -> bool:
    """Heads and bodies that do not come, answers that are not read, connections half closed."""
    request = raw_request(photos(0.3)[0])
    unread = b"GET /labels HTTP/1.1\r\nHost: x\r\n\r\n" * 500
    half = request[: len(request) // 2]
    open_ones, half_closed = [b"POST /pre", half, unread], [half, request]
    kinds = [(sent, False) for sent in open_ones] + [(sent, True) for sent in half_closed]
    with contextlib.ExitStack() as open_sockets, serving(checkpoint) as server:
        askers = Askers(server.port, [request], CLIENTS)
        with askers.asking():
            slow = []
            for index in range(number):
                connection = socket.create_connection(("127.0.0.1", server.port))
                open_sockets.enter_context(connection)
                sent, closes = kinds[index % len(kinds)]
                connection.sendall(sent)
                if closes:
                    connection.shutdown(socket.SHUT_WR)
                slow.append(connection)
            time.sleep(60)  # past every bound of theirs
        closed = sum(_is_closed(connection) for connection in slow)
    print(f"\n{number} slow clients for a minute, {closed} of them let go:")
    return _told(askers.counts) and closed == number


def _scores(body: bytes) -> tuple[str, dict[str, float]]:
    answer = json.loads(body)
    labels = answer["results"][0]["labels"]
    return answer["model"]["version"], {label["id"]: label["confidence"] for label in labels}


def _listens(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"spawn_main" in command


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


def _told(counts: Counter[str]) -> bool:
    print("; ".join(f"{what}: {times}" for what, times in sorted(counts.items())), flush=True)
    return set(counts) == {"200"}


def main() -> None:
    """Inject each fault, or the one that is named."""
    faults: dict[str, tuple[Callable[[Path, int], bool], int]] = {
        "swaps": (swaps, 50),
        "stops": (stops, 20),
        "kills": (kills, 5),
        "slow_clients": (slow_clients, 60),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--only", choices=faults, nargs="+", default=list(faults))
    parser.add_argument("--times", type=int, help="in place of the usual number")
    args = parser.parse_args()
    chosen = [faults[name] for name in args.only]
    right = [inject(args.checkpoint, args.times or times) for inject, times in chosen]
    sys.exit(not all(right))


if __name__ == "__main__":
    main()
