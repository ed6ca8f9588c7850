"""PPO beside TRL 1.12.0's `PPOTrainer`: the same work in fresh processes, in turn, with gates before the clock."""
