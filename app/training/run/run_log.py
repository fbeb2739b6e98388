"""The log of a run: `log.csv`, and the same values for TensorBoard."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard.writer import SummaryWriter

from app.core.files import atomic_file
from app.errors import DiskError
from app.training.run.state import History


class RunLog:
    """Writes the rows of a history that were not written before.

    Args:
        run_folder: the folder of `log.csv` and TensorBoard's event files.
        rows: number of rows that an interrupted run has written.
    """

    def __init__(self, run_folder: Path, rows: int) -> None:
        self._path = run_folder / "log.csv"
        self._rows = rows
        self._board: SummaryWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._board is not None:
            # An error that already ends the run is not replaced by one on closing.
            with self._disk_errors() if error is None else suppress(OSError):
                self._board.close()

    def write(self, history: History) -> None:
        """Write the new rows.

        Raises:
            DiskError: a file cannot be written.
        """
        with self._disk_errors():
            self._board = self._board or SummaryWriter(str(self._path.parent))
            for row in history[self._rows :]:
                for name, value in row.items():
                    if name != "step":
                        self._board.add_scalar(name, value, int(row["step"]))
            self._board.flush()
        self._rows = len(history)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, dict.fromkeys(column for row in history for column in row))
        writer.writeheader()
        writer.writerows(history)
        with atomic_file(self._path) as file:
            file.write(text.getvalue().encode())

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(
                f"{self._path.parent}: TensorBoard's events cannot be written: {error}; the last "
                "saved state is intact. Start the same command again when the disk has room"
            ) from error
