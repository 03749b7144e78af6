"""Counting: what is measured of an experiment (`declared`), and per user, arm and stage how much of it (`sums`)."""

from flytewheel.experiment.metrics.declared import METRICS as METRICS
from flytewheel.experiment.metrics.declared import Metric as Metric
from flytewheel.experiment.metrics.declared import find_metric as find_metric
from flytewheel.experiment.metrics.stage import count_stage as count_stage
from flytewheel.experiment.metrics.sums import ARMS as ARMS
from flytewheel.experiment.metrics.sums import StageCounts as StageCounts
from flytewheel.experiment.metrics.sums import UserSums as UserSums
