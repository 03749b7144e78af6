"""The model registry: immutable versions on any S3 store with conditional writes.

`store` speaks to the object store and refuses one that breaks its promises, `manifest` says what a version consists of,
`versions` registers, finds, downloads and verifies them and moves the aliases.
"""
