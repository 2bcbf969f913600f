"""What is measured: each module takes the arena, and adds samples to a `Samples` under stable keys, round by round."""
