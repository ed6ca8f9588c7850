"""What stages hand to each other: names and readers of policies, snapshots, the champion, contracts."""
