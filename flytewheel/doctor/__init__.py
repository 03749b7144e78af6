"""What `flytewheel doctor` says: what this machine has, the profile that it trains with, and what to do about the rest.

Looks only: nothing is started, downloaded, written or loaded onto a device. `examine` is the way in.
"""

from flytewheel.doctor.examine import Examination, examine
from flytewheel.doctor.findings import Finding

__all__ = ["Examination", "Finding", "examine"]
