"""Ollama's API in front of every kind of backend.

`protocol` says for each path where it goes; `options`, `messages` and `requests` write requests, `translation` and
`writing` answers, `embedding` both for embeddings; `card` holds what is told of a model, `pages` tells it.
"""
