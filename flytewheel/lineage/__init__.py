"""Where a model comes from, and what became of what somebody said.

`facts` are what a version's manifest keeps; `index` knows which rows of which data set come from which interaction and
event; `walk` goes from a version down to feedback events and from an event up to every model that it touched.
"""

from flytewheel.lineage.facts import describe_base as describe_base
from flytewheel.lineage.facts import describe_candidate as describe_candidate
from flytewheel.lineage.facts import find_commit as find_commit
