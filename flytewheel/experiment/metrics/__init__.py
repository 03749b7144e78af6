"""Counting: what is measured of an experiment (`declared`), and per user, arm and stratum how much of it (`sums`).

`look` keeps the counters in PostgreSQL up to date, and the sums over users that an analysis needs (`moments`);
`reading` hands both on.
"""

from flytewheel.experiment.metrics.declared import METRICS as METRICS
from flytewheel.experiment.metrics.declared import Metric as Metric
from flytewheel.experiment.metrics.declared import declare_guardrail as declare_guardrail
from flytewheel.experiment.metrics.declared import declare_metrics as declare_metrics
from flytewheel.experiment.metrics.declared import find_metric as find_metric
from flytewheel.experiment.metrics.look import take_look as take_look
from flytewheel.experiment.metrics.moments import ArmMoments as ArmMoments
from flytewheel.experiment.metrics.past import count_past as count_past
from flytewheel.experiment.metrics.reading import count_stages as count_stages
from flytewheel.experiment.metrics.reading import read_stages as read_stages
from flytewheel.experiment.metrics.sums import ARMS as ARMS
from flytewheel.experiment.metrics.sums import ArmSums as ArmSums
from flytewheel.experiment.metrics.sums import StageCounts as StageCounts
from flytewheel.experiment.metrics.sums import UserSums as UserSums
