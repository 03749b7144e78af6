"""Counters, gauges and histograms over `cells`, with prometheus_client's names, and what a scrape reads of them.

A child (`family.labels(...)`) is made once and kept: counting costs an addition. Values are only what the router or its
operators chose (models, versions, arms, statuses, kinds): never what a user sends. A family takes `limit` label sets at
most; the rest are counted together under `other`, so that a mistake here cannot fill a Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from router.cells import Cells, Series

# A `sum` is a total that may fall as well: Prometheus calls it a gauge, but it outlives its process.
Kind = Literal["counter", "gauge", "histogram", "sum"]
LIMIT = 500


class Count:
    """One counter or gauge."""

    __slots__ = ("_at", "_view")

    def __init__(self, cells: Cells, at: int, bounds: Sequence[float] = ()) -> None:
        self._view, self._at = cells.view, at

    def inc(self, amount: float = 1.0) -> None:
        """Adds to it."""
        self._view[self._at] += amount

    def dec(self, amount: float = 1.0) -> None:
        """Takes from it (gauges)."""
        self._view[self._at] -= amount

    def set(self, value: float) -> None:
        """Makes it this (gauges)."""
        self._view[self._at] = value

    @property
    def value(self) -> float:
        """What this process counted."""
        return self._view[self._at]


class Spread:
    """One histogram: its sum, then a cell for each bucket, the last one without a bound."""

    __slots__ = ("_at", "_bounds", "_view")

    def __init__(self, cells: Cells, at: int, bounds: Sequence[float] = ()) -> None:
        self._view, self._at, self._bounds = cells.view, at, bounds

    def observe(self, value: float, times: int = 1) -> None:
        """Counts a value that came so many times."""
        view, at = self._view, self._at
        view[at] += value if times == 1 else value * times
        view[at + 1 + bisect_left(self._bounds, value)] += times


Child = TypeVar("Child", Count, Spread)


class Family(Generic[Child]):
    """A metric with its label sets."""

    def __init__(
        self,
        cells: Cells,
        make: type[Child],
        kind: Kind,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float] = (),
        limit: int = LIMIT,
    ) -> None:
        self.kind, self.name, self.text, self.label_names = kind, name, text, tuple(labels)
        self.bounds = tuple(bounds)
        self._cells, self._limit = cells, limit
        self._make: type[Child] = make
        self._children: dict[tuple[str, ...], Child] = {}
        if not labels:
            self.labels()

    @property
    def size(self) -> int:
        """Cells of one label set."""
        return 1 if self.kind != "histogram" else len(self.bounds) + 2

    def labels(self, *values: str) -> Child:
        """The child of these label values, in the order of the names; always the same one."""
        child = self._children.get(values)
        return child if child is not None else self._add(values)

    def _add(self, values: tuple[str, ...]) -> Child:
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {', '.join(self.label_names) or 'none'}, got {values}")
        if len(self._children) >= self._limit:
            values = ("other",) * len(values)
            if values in self._children:
                return self._children[values]
        child = self._make(self._cells, self._cells.reserve(self.name, values, self.size), self.bounds)
        self._children[values] = child
        return child

    def zero(self) -> None:
        """Sets every label set that is known back: of a gauge whose process has just begun."""
        for series in self._cells.read():
            if series.family == self.name and isinstance(child := self.labels(*series.labels), Count):
                child.set(0.0)


class Gathered(Collector):
    """What is scraped: every family, added up over all processes. Gauges count where their process lives."""

    def __init__(self, families: Iterable[Family[Count] | Family[Spread]], read: Callable[[], list[Series]]) -> None:
        self._families = {family.name: family for family in families}
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """A metric for each family, also one that nothing was counted of yet."""
        totals: dict[str, dict[tuple[str, ...], list[float]]] = {name: {} for name in self._families}
        for series in self._read():
            family = self._families.get(series.family)
            gone = family is not None and family.kind == "gauge" and not series.live
            if family is None or gone or len(series.values) != family.size:
                continue
            known = totals[series.family].setdefault(series.labels, [0.0] * len(series.values))
            for place, value in enumerate(series.values):
                known[place] += value
        for name, family in self._families.items():
            yield _express(family, totals[name])


def _express(
    family: Family[Count] | Family[Spread], totals: dict[tuple[str, ...], list[float]]
) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.label_names)
        edges = [str(floatToGoString(bound)) for bound in family.bounds]  # type: ignore[no-untyped-call]
        edges.append("+Inf")
        for labels, (total, *counts) in sorted(totals.items()):
            seen, buckets = 0.0, []
            for edge, count in zip(edges, counts, strict=True):
                seen += count
                buckets.append((edge, seen))
            histogram.add_metric(labels, buckets, total)
        return histogram
    plain = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    found = plain(family.name, family.text, labels=family.label_names)
    for labels, (value,) in sorted(totals.items()):
        found.add_metric(labels, value)
    return found
