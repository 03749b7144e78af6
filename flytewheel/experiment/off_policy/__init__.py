"""Off-policy: what another way of giving answers would have earned, told from a log that it did not make."""
