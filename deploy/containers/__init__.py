"""The tasks in real containers: Flyte's images, built and packed here and run by Debian's containerd and runc.

What a cluster does with a task, done on one machine: the image of its ImageSpec, its own `pyflyte-execute`, its memory
limit, its secrets, its inputs and outputs in an object store. `propeller` stands where Flyte's propeller stands, and
refuses what it cannot do. docs/containers.md tells how to run it, docs/adr/0056 why it is built like this.
"""

from __future__ import annotations

from flytewheel.errors import FlytewheelError


class ContainersError(FlytewheelError):
    """Containers cannot be built or run here: what is missing, and the next step."""
