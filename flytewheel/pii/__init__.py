"""Personal data and secrets become typed, numbered placeholders (`<EMAIL_1>`), the same thing the same one in a
conversation.

Decides what counts as personal data. A pattern alone is imprecise, so every hit is checked: cards by brand, grouping
and Luhn, IBANs by length and mod 97, national numbers by their states' check digits, telephone numbers by
`phonenumbers`, addresses by `ipaddress`, wallets by their check sums. Order numbers, versions, hashes, dates,
loopback addresses and `user@host:/path` stay. Names need a model of the user's (`names`); postal addresses are not
found.
"""

from flytewheel.pii.redact import KINDS as KINDS
from flytewheel.pii.redact import find as find
from flytewheel.pii.redact import redact as redact
from flytewheel.pii.redact import redact_changed as redact_changed
from flytewheel.pii.redact import redact_conversation as redact_conversation
from flytewheel.pii.redact import redact_conversations as redact_conversations
from flytewheel.pii.validators import passes_luhn as passes_luhn
from flytewheel.pii.validators import passes_mod97 as passes_mod97
