"""Figures about a running process: latency histograms, counters, profiles, and their text for Prometheus."""
