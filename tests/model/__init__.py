"""The delivery protocol as a small state machine, in the words and states of the code, searched exhaustively.

    rules ─▶ delivery (what each statement does to a row) ─▶ record, environment, mains, children (who does what, when) ─▶ search
                       └─▶ tests/model/statements: the same rows, and the real SQL beside them

A *scenario* fixes a few deliveries, workers and a budget of faults; `search` visits every state that can be reached. Rows and
statements are `eventbus.storage`'s, slots `eventbus.worker`'s; a rule that the code follows is a flag here, so that a test can
switch it off and see which promise breaks.

Left out: 1 or 2 rows, 1 or 2 workers and few faults are evidence, no proof. Time has no length: a lease ends only where no
living main process renews it, or by the fault ``stall``. A statement is atomic here; tests/model/statements interleaves them.
No publishing, backfill, unsubscribing or schema conversion.
"""
