"""Negative controls: with its mechanism switched off, each test reports the loss that it is there to report."""
