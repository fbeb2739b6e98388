"""Several server processes on one port, kept alive by uvicorn's supervisor.

The supervisor does not serve requests and never imports torch.
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
from app.serving.listening import Port, announcement, bind
from app.serving.observability import SHARED_DIRECTORY, record_replaced, shared_model_labels
from app.serving.process.server import Server, server_config
from app.settings import Settings

# Metrics are memory-mapped files; on a full disk, writing to one would kill the process (SIGBUS).
SHARED_MEMORY = Path("/dev/shm")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A worker does not answer pings while it imports torch, which takes long on a slow disk.
PING_TIMEOUT_S = 60.0
# Back-off between replacements of workers that fail to start; doubled each time.
MIN_BACKOFF_S, MAX_BACKOFF_S = 1.0, 60.0
MAX_START_REPLACEMENTS = 3  # of workers that exit before all have been ready once
EXIT_TIMEOUT_S = 10.0  # for a worker whose last request has been answered
logger = logging.getLogger("mumic.workers")


def run_workers(
    settings: Settings, create_app: Callable[[Settings], ASGIApp], announce: Callable[[str], None]
) -> int:
    """Serve until a signal; after shutdown the signal is raised again with its previous handler.

    Args:
        settings: the settings, including the number of workers.
        create_app: builds a worker's app in its process, or reports an error and exits; it must be
            importable.
        announce: called with the start-up line when all workers are ready.

    Returns:
        The exit code if a worker failed to start; the others have been stopped.

    Raises:
        OptionError: the address is in use or does not belong to this machine.
        DiskError: the directory for shared metrics cannot be created.
    """
    handlers = {stop: signal.getsignal(stop) for stop in STOP_SIGNALS}
    with bind(settings.host, settings.port) as bound, _shared_directory() as directory:
        os.environ[SHARED_DIRECTORY] = directory  # inherited by the workers
        workers = _Workers(settings, create_app, bound, announce)
        workers.run()
    for stop, handler in handlers.items():
        signal.signal(stop, handler)
    if workers.stopped_by is not None:
        signal.raise_signal(workers.stopped_by)
    return workers.exit_code


class _Worker(Process):
    """A worker process that runs our `Server`."""

    @cached_property
    def server(self) -> Server:
        """The server, created in the worker process."""
        return Server(self.config)

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve until a signal, or until the supervisor has died."""
        threading.Thread(target=_stop_without_supervisor, daemon=True).start()
        super().target(sockets)


class _Workers(Multiprocess):
    """Supervisor: replaces workers that exit.

    If the first worker exits with an error before it is ready, or workers exit repeatedly before
    all are ready, the server stops: the checkpoint or a setting would fail each time.

    Attributes:
        stopped_by: the signal that stopped the server, or None.
        exit_code: the command's exit code if no signal stopped it.
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
        self._backoff_s = MIN_BACKOFF_S
        self._backoff_ends = 0.0
        self._start_replacements = 0
        self.stopped_by: signal.Signals | None = None
        self.exit_code = 0

    def init_processes(self) -> None:
        """Start one worker, then the others, so that a configuration error is reported once."""
        self.processes.append(self._start())
        if not self._wait_until_ready():
            return
        model = shared_model_labels()
        # Fix what `auto` selected: the other workers could select differently.
        placed = {"device": model["device"], "precision": model["precision"]}
        self.config.app = partial(self._create_app, self._settings.model_copy(update=placed))
        self.processes += [self._start() for _ in range(self._settings.workers - 1)]
        if self._wait_until_ready():
            self._announce(announcement(self._settings, self.sockets[0], model))
            self._announced = True

    def keep_subprocess_alive(self) -> None:
        """Replace a worker that has exited or does not answer pings.

        Its counters stay in the metrics, its gauges are removed. If replacements exit too, for
        example for lack of memory, the back-off doubles.
        """
        if time.monotonic() < self._backoff_ends:
            return
        if self._backoff_s > MIN_BACKOFF_S and all(each.is_ready(1) for each in self.processes):
            logger.info("All workers are ready again")
            self._backoff_s = MIN_BACKOFF_S
        for place, process in enumerate(self.processes):
            # The worker's end of the pipe. While this process has it open too, a ping to a worker
            # that has just died would wait instead of failing.
            process.child_conn.close()
            alive = self._answers_ping(process)
            if self.should_exit.is_set():
                return
            if not alive:
                process.kill()
                process.join()
                self._replace(place, process)

    def join_all(self) -> None:
        """Wait until the workers have answered open requests; kill those that do not exit."""
        deadline = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + EXIT_TIMEOUT_S
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                logger.error("Worker %d does not exit; killing it", process.pid)
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
        """Forward SIGHUP, on which workers reload the checkpoint, once all have started.

        The signal ends a worker that is just starting; its replacement loads the new checkpoint.
        """
        if not self._announced:
            self.signal_queue.append(signal.SIGHUP)
            return
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGHUP)

    def handle_ttin(self) -> None:
        """Ignore the signal: uvicorn would start one of its own worker processes."""

    handle_ttou = handle_ttin

    def _start(self) -> Process:
        process = _Worker(self.config, self.sockets)
        process.start()
        return process

    def _answers_ping(self, process: Process) -> bool:
        """Whether a worker answers a ping in time; returns early on shutdown."""
        deadline = time.monotonic() + PING_TIMEOUT_S
        while process.exitcode is None and time.monotonic() < deadline:
            if process.ping(1):
                return True
            self.handle_signals()
            if self.should_exit.is_set():
                break
        return False

    def _replace(self, place: int, ended: Process) -> None:
        logger.warning(
            "Worker %d has exited (%s); replacing it. The next replacement waits at least %g s",
            ended.pid,
            _exit_reason(ended),
            self._backoff_s,
        )
        assert ended.pid is not None  # it has been started
        mark_process_dead(ended.pid)
        record_replaced(os.environ[SHARED_DIRECTORY], ended.pid)
        self._backoff_ends = time.monotonic() + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, MAX_BACKOFF_S)
        self.processes[place] = self._start()

    def _replace_at_start(self, place: int, ended: Process) -> None:
        """Replace a worker that exited before all were ready, or stop the server."""
        code = ended.exitcode or 0
        failed_first = code > 0 and len(self.processes) == 1  # it has reported the error
        if failed_first or self._start_replacements == MAX_START_REPLACEMENTS:
            if code < 0:
                logger.error(
                    "Worker %d has exited (%s) at start-up", ended.pid, _exit_reason(ended)
                )
            self.exit_code = max(1, code)
            self.should_exit.set()
            return
        self._start_replacements += 1
        while time.monotonic() < self._backoff_ends and not self.should_exit.wait(0.1):
            self.handle_signals()
        if not self.should_exit.is_set():
            self._replace(place, ended)

    def _wait_until_ready(self) -> bool:
        """Wait until all workers are ready; False after a signal or if the server gives up."""
        for place in range(len(self.processes)):
            while not self.processes[place].wait_until_ready(1, self.should_exit):
                self.handle_signals()  # first: a signal may be the reason why the worker has exited
                process = self.processes[place]
                if not self.should_exit.is_set() and process.exitcode is not None:
                    self._replace_at_start(place, process)
                if self.should_exit.is_set():
                    return False
        return True


def _stop_without_supervisor() -> None:
    supervisor = parent_process()
    assert supervisor is not None
    supervisor.join()
    # The supervisor was killed. Exit, so that the port is free for a new server.
    os.kill(os.getpid(), signal.SIGTERM)


def _shared_directory() -> tempfile.TemporaryDirectory[str]:
    with disk_errors(SHARED_MEMORY, "cannot create the directory for the workers' shared metrics"):
        return tempfile.TemporaryDirectory(
            prefix="mumic-metrics-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        )


def _exit_reason(ended: Process) -> str:
    code = ended.exitcode or 0
    return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
