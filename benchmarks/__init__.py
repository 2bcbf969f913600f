"""Benchmarks: eventbus beside what a Python team would pick instead, on one machine, against the same servers.

    catalogue ─ which systems, how their workers start, what the comparison does not show
      └─ systems/   one module each: publish, publish_many, and the worker's side, as its documentation says
    measuring/  ─ publishing, draining, latency: interleaved rounds ─▶ samples
    bounds      ─ samples ─▶ ratios with stable keys ─▶ which bound holds
    report, charts ─▶ results.json, a Markdown table, SVG

`make bench` runs it in an environment of its own. Needs Linux: CPU time is read from /proc.
"""
