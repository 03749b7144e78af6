"""Whom the servers of models are believed: the authorities of the system, and of one file beside them.

A company's own authority is in no system's list on a fresh container. It is added by `FLYTEWHEEL_BACKEND_CA`, never put
in the place of the others; there is no setting that skips the check.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from flytewheel.errors import SettingsError


def trust_authorities(file: Path | None) -> ssl.SSLContext:
    """What proves a server: its name, and a certificate that leads to an authority that is known or stands in `file`.

    Raises:
        SettingsError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    if file is not None:
        try:
            context.load_verify_locations(file)
        except ssl.SSLError:
            raise SettingsError(
                f"FLYTEWHEEL_BACKEND_CA={str(file)!r}: expected certificates as PEM (-----BEGIN CERTIFICATE-----)"
            ) from None
        except OSError as error:
            raise SettingsError(f"FLYTEWHEEL_BACKEND_CA={str(file)!r}: cannot be read ({error.strerror})") from None
    return context
