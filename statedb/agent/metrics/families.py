"""Metric families that are declared first and filled at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

Family = GaugeMetricFamily | CounterMetricFamily | SummaryMetricFamily

_KINDS: dict[str, type[Family]] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "summary": SummaryMetricFamily,
}


class Families:
    """The families of one scrape. Their names begin with ``statedb_``; those of counters do not end with ``_total``.

    >>> families = Families(("gauge", "table_rows", "Rows.", ("table",)))
    >>> families.add("table_rows", ("nodes",), 3)
    >>> [sample.value for family in families for sample in family.samples]
    [3.0]
    """

    def __init__(self, *declared: tuple[str, str, str, Sequence[str]]) -> None:
        """Each is a kind (gauge, counter, summary), a name, a help text, and the names of labels."""
        self._families = {
            name: _KINDS[kind](f"statedb_{name}", text, labels=labels) for kind, name, text, labels in declared
        }

    def add(self, name: str, labels: Sequence[str], value: float) -> None:
        """Add a value of a gauge or a counter."""
        family = self._families[name]
        assert not isinstance(family, SummaryMetricFamily)
        family.add_metric(labels, float(value))

    def add_summary(self, name: str, labels: Sequence[str], count: int, total: float) -> None:
        """Add the count and the sum of a summary."""
        family = self._families[name]
        assert isinstance(family, SummaryMetricFamily)
        family.add_metric(labels, count_value=count, sum_value=total)

    def __iter__(self) -> Iterator[Metric]:
        """All families in order, also those without values."""
        families: Iterable[Metric] = self._families.values()
        return iter(families)
