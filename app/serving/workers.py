"""Several server processes on one port, kept alive by uvicorn's supervisor.

The supervising process serves nothing and never imports torch.
"""

import logging
import os
import signal
import tempfile
from collections.abc import Callable
from functools import partial

from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.serving.listening import Port, announcement, bind, server_config
from app.serving.logs import log_to_stderr
from app.serving.metrics import SHARED_DIRECTORY, shared_model
from app.settings import Settings

STOPS = (signal.SIGINT, signal.SIGTERM)
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
    """
    log_to_stderr(settings.log_format)
    handlers = {stop: signal.getsignal(stop) for stop in STOPS}
    with (
        bind(settings.host, settings.port) as bound,
        tempfile.TemporaryDirectory(prefix="mumic-metrics-") as directory,
    ):
        os.environ[SHARED_DIRECTORY] = directory  # which the workers inherit
        workers = _Workers(settings, create_app, bound, announce)
        workers.run()
    for stop, handler in handlers.items():
        signal.signal(stop, handler)
    if workers.stopped_by is not None:
        signal.raise_signal(workers.stopped_by)
    return workers.exit_code


class _Workers(Multiprocess):
    """A worker that is killed is started again; where one ends by itself, all end.

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
        self._pids: set[int | None] = set()
        self.stopped_by: signal.Signals | None = None
        self.exit_code = 0

    def init_processes(self) -> None:
        """Start one worker and, once it answers, the others: what it refuses is said once."""
        super().init_processes()
        if not self._all_answer():
            return
        model = shared_model()
        # What `auto` came to, or the others might choose differently.
        placed = {"device": model["device"], "precision": model["precision"]}
        self.config.app = partial(self._create_app, self._settings.model_copy(update=placed))
        for _ in range(self._settings.workers - 1):
            self.handle_ttin()
        if self._all_answer():
            line = announcement(self._settings, self.sockets[0], model)
            self._announce(f"{line}, {self._settings.workers} workers")

    def keep_subprocess_alive(self) -> None:
        """Start killed workers again; what they counted stays, what they held is forgotten."""
        for process in self.processes:
            if (process.exitcode or 0) > 0:
                self._give_up(process)
            # The worker's own end of the pipe: with a copy here, its death would go unnoticed
            # by a ping that it has just missed.
            process.child_conn.close()
        super().keep_subprocess_alive()
        living = {process.pid for process in self.processes}
        for pid in self._pids - living:
            logger.warning("worker %d has ended, another is started", pid)
            mark_process_dead(pid)
        self._pids = living

    def handle_int(self) -> None:
        """Stop."""
        self.stopped_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        """Stop."""
        self.stopped_by = signal.SIGTERM
        super().handle_term()

    def _give_up(self, process: Process) -> None:
        """Stop, since a worker ended that could not start; where it was killed it said nothing."""
        code = process.exitcode or 0
        if code < 0:
            logger.error("worker %d was killed by signal %d when it started", process.pid, -code)
        self.exit_code = max(1, code)
        self.should_exit.set()

    def _all_answer(self) -> bool:
        """Wait until they do, or a signal or a worker's failure stops the start."""
        for process in self.processes:
            while not process.wait_until_ready(1, self.should_exit):
                self.handle_signals()
                if process.exitcode is not None:
                    self._give_up(process)
                if self.should_exit.is_set():
                    return False
        return True
