"""Several server processes on one port, kept alive by uvicorn's supervisor.

The supervising process serves nothing and never imports torch.
"""

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cached_property, partial
from multiprocessing import parent_process
from pathlib import Path
from socket import socket

from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.core.files import disk_errors
from app.serving.observability import SHARED_DIRECTORY, note_replaced, shared_model
from app.serving.process.server import Port, Server, announcement, bind, server_config
from app.settings import Settings

# Metrics are mapped into memory, and a process ends that writes to a mapping on a full disk.
MEMORY = Path("/dev/shm")
STOPS = (signal.SIGINT, signal.SIGTERM)
# A worker may be silent while it imports torch, long on a slow disk; it must not be killed for it.
SILENT_WORKER_S = 60.0
# Between replacements of workers that do not come to answer, doubled each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
ENDS_WITHIN_S = 10.0  # a worker whose last request has been answered
logger = logging.getLogger("mumic.workers")


def run_workers(
    settings: Settings, create_app: Callable[[Settings], ASGIApp], announce: Callable[[str], None]
) -> int:
    """Serve until a signal stops it, which then acts as it would on one process.

    Args:
        settings: what to serve, where, how and in how many processes.
        create_app: makes a worker's app in its process, or says what is wrong and exits; it must
            be importable.
        announce: given the one line that says so, once every worker answers.

    Returns:
        The exit code, when a worker could not start; the others have been stopped.

    Raises:
        OptionError: the address is taken or is none of this machine's.
        DiskError: there is no place for the metrics that the workers share.
    """
    handlers = {stop: signal.getsignal(stop) for stop in STOPS}
    with bind(settings.host, settings.port) as bound, _shared_directory() as directory:
        os.environ[SHARED_DIRECTORY] = directory  # which the workers inherit
        workers = _Workers(settings, create_app, bound, announce)
        workers.run()
    for stop, handler in handlers.items():
        signal.signal(stop, handler)
    if workers.stopped_by is not None:
        signal.raise_signal(workers.stopped_by)
    return workers.exit_code


class _Worker(Process):
    """A process with our server in it."""

    @cached_property
    def server(self) -> Server:
        """The server, made where it runs."""
        return Server(self.config)

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve until a signal stops it, or nobody is left to send one."""
        threading.Thread(target=_stop_without_supervisor, daemon=True).start()
        super().target(sockets)


class _Workers(Multiprocess):
    """A worker that ends is replaced; where one cannot start at the beginning, all end.

    Attributes:
        stopped_by: the signal that stopped it.
        exit_code: the command's, where no signal did.
    """

    def __init__(
        self,
        settings: Settings,
        create_app: Callable[[Settings], ASGIApp],
        bound: Port,
        announce: Callable[[str], None],
    ) -> None:
        bound.share()
        super().__init__(
            server_config(partial(create_app, settings), settings, factory=True), [bound]
        )
        self._settings = settings
        self._create_app = create_app
        self._announce = announce
        self._announced = False
        self._pause_s = FIRST_PAUSE_S
        self._pause_ends = 0.0
        self.stopped_by: signal.Signals | None = None
        self.exit_code = 0

    def init_processes(self) -> None:
        """Start one worker and, once it answers, the others: what it refuses is said once."""
        self.processes.append(self._start())
        if not self._all_answer():
            return
        model = shared_model()
        # What `auto` came to, or the others might choose differently.
        placed = {"device": model["device"], "precision": model["precision"]}
        self.config.app = partial(self._create_app, self._settings.model_copy(update=placed))
        self.processes += [self._start() for _ in range(self._settings.workers - 1)]
        if self._all_answer():
            line = announcement(self._settings, self.sockets[0], model)
            self._announce(f"{line}, {self._settings.workers} workers")
            self._announced = True

    def keep_subprocess_alive(self) -> None:
        """Replace a worker that has ended, or is silent for too long.

        What it counted stays, what it held is forgotten. Where its replacements end as well, as
        when there is no memory for them, each is awaited longer than the one before.
        """
        if time.monotonic() < self._pause_ends:
            return
        if self._pause_s > FIRST_PAUSE_S and all(each.is_ready(1) for each in self.processes):
            logger.info("all workers answer again")
            self._pause_s = FIRST_PAUSE_S
        for place, process in enumerate(self.processes):
            # The worker's own end of the pipe: with a copy here, its death would go unnoticed
            # by a ping that it has just missed.
            process.child_conn.close()
            lives = self._lives(process)
            if self.should_exit.is_set():
                return
            if not lives:
                process.kill()
                process.join()
                self._replace(place, process)

    def join_all(self) -> None:
        """Wait for what the workers have accepted, and no longer for one that does not end."""
        deadline = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + ENDS_WITHIN_S
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                logger.error("worker %d does not end and is killed", process.pid)
                process.kill()
                process.join()

    def handle_int(self) -> None:
        """Stop."""
        self.stopped_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        """Stop."""
        self.stopped_by = signal.SIGTERM
        super().handle_term()

    def handle_hup(self) -> None:
        """Have each worker load the checkpoint again, once all have started.

        One that is starting again is ended by it: its replacement reads what is there now.
        """
        if not self._announced:
            self.signal_queue.append(signal.SIGHUP)
            return
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGHUP)

    def handle_ttin(self) -> None:
        """As many workers stay as the settings say; uvicorn would start one of its own kind."""

    handle_ttou = handle_ttin

    def _start(self) -> Process:
        process = _Worker(self.config, self.sockets)
        process.start()
        return process

    def _lives(self, process: Process) -> bool:
        """Whether it answers a ping in time; the wait for it ends when all shall."""
        deadline = time.monotonic() + SILENT_WORKER_S
        while process.exitcode is None and time.monotonic() < deadline:
            if process.ping(1):
                return True
            self.handle_signals()
            if self.should_exit.is_set():
                break
        return False

    def _replace(self, place: int, ended: Process) -> None:
        logger.warning(
            "worker %d has ended (%s), another is started; if that ends too, the next in %g s",
            ended.pid,
            _way_out(ended),
            self._pause_s,
        )
        assert ended.pid is not None  # it was started
        mark_process_dead(ended.pid)
        note_replaced(os.environ[SHARED_DIRECTORY], ended.pid)
        self._pause_ends = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.processes[place] = self._start()

    def _give_up(self, process: Process) -> None:
        """Stop, since a worker ended that could not start; where it was killed it said nothing."""
        code = process.exitcode or 0
        if code < 0:
            logger.error("worker %d has ended (%s) when it started", process.pid, _way_out(process))
        self.exit_code = max(1, code)
        self.should_exit.set()

    def _all_answer(self) -> bool:
        """Wait until they do, or a signal or a worker's failure stops the start."""
        for process in self.processes:
            while not process.wait_until_ready(1, self.should_exit):
                self.handle_signals()  # which may have ended the worker as well
                if not self.should_exit.is_set() and process.exitcode is not None:
                    self._give_up(process)
                if self.should_exit.is_set():
                    return False
        return True


def _stop_without_supervisor() -> None:
    supervisor = parent_process()
    assert supervisor is not None
    supervisor.join()
    # It was killed. Whoever starts another finds the port free, and no old worker answering there.
    os.kill(os.getpid(), signal.SIGTERM)


def _shared_directory() -> tempfile.TemporaryDirectory[str]:
    with disk_errors(MEMORY, "the workers have no place to share their metrics"):
        return tempfile.TemporaryDirectory(
            prefix="mumic-metrics-", dir=MEMORY if MEMORY.is_dir() else None
        )


def _way_out(ended: Process) -> str:
    code = ended.exitcode or 0
    return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
