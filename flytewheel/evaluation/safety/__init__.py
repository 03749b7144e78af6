"""What a model must not do: insult, leak, give away planted secrets, obey hidden orders, refuse the harmless."""
