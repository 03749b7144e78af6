"""Database and object store as one folder, and back into an empty stack (docs/adr/0055)."""
