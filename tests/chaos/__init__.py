"""Chaos: publishers and groups as separate processes, a seeded storm of faults, and SQL that decides what became of it.

    stage (servers, proxies, processes) ─▶ storm: one fault after the other, some at once ─▶ calm ─▶ verdict ─▶ report

    make chaos [SECONDS=45] [SEED=7] [SEEDS=50]

The seed fixes the faults, their order and their times, and what publishers publish. What the scheduler of the machine does, it
does not fix: a seed that failed may have to run a few times to fail again.
"""
