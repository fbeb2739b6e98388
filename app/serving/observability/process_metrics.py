"""`process_*` of several processes, which prometheus_client has of one alone, and replacements."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

ENDED = "ended_"  # and a process id: the name of an empty file


def note_replaced(directory: str, pid: int) -> None:
    """Remember a process whose place another takes; it goes uncounted on a full disk."""
    with suppress(OSError):
        Path(directory, f"{ENDED}{pid}").touch()


class SharingProcesses(Collector):
    """CPU, memory and files of each living process that shares a directory, by its `pid`.

    Not added up: a sum of counters would fall when one of them ends, and look like a restart.
    With them goes the number of processes whose place others have taken.

    Args:
        directory: that prometheus_client shares numbers in.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def collect(self) -> Iterable[Metric]:
        """Read them as they are now."""
        families: dict[str, Metric] = {}
        for pid in self._living():
            for family in _processes_of(pid):
                told = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    told.add_sample(sample.name, {"pid": pid}, sample.value)
        replaced = len(list(self._directory.glob(f"{ENDED}*")))
        restarts = CounterMetricFamily(
            "mumic_worker_restarts", "Workers that have ended and been replaced.", replaced
        )
        return [*families.values(), restarts]

    def _living(self) -> list[str]:
        # The files of live gauges are removed when a process ends.
        files = self._directory.glob("gauge_live*_*.db")
        return sorted({path.stem.rpartition("_")[2] for path in files})


def _processes_of(pid: str) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
