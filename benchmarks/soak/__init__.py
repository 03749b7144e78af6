"""The router under load while everything around it breaks: `python -m benchmarks.soak`."""
