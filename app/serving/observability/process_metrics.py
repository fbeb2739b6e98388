"""`process_*` metrics of several processes, which prometheus_client exports for one only."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

REPLACED_PREFIX = "ended_"  # of an empty file per replaced process: the prefix and its process id


def record_replaced(directory: str, pid: int) -> None:
    """Record that a process was replaced by another; on a full disk it is not counted."""
    with suppress(OSError):
        Path(directory, f"{REPLACED_PREFIX}{pid}").touch()


class SharingProcesses(Collector):
    """CPU, memory and files of each living process of a shared directory, by its `pid`.

    They are not summed: the sum of counters would decrease when a process ends, which Prometheus
    takes for a counter reset. The collector also exports how many processes were replaced.

    Args:
        directory: the directory in which prometheus_client shares samples.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def collect(self) -> Iterable[Metric]:
        """Read the current values."""
        families: dict[str, Metric] = {}
        for pid in self._living():
            for family in _process_metrics(pid):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.add_sample(sample.name, {"pid": pid}, sample.value)
        replaced = len(list(self._directory.glob(f"{REPLACED_PREFIX}*")))
        restarts = CounterMetricFamily(
            "mumic_worker_restarts", "Workers that have ended and been replaced.", replaced
        )
        return [*families.values(), restarts]

    def _living(self) -> list[str]:
        # The supervisor removes the files of live gauges when a process ends.
        files = self._directory.glob("gauge_live*_*.db")
        return sorted({path.stem.rpartition("_")[2] for path in files})


def _process_metrics(pid: str) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
