"""What SFT, reward model, DPO and PPO share in training."""
