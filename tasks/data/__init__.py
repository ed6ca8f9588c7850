"""A team's data: files read, their forms recognised, every row turned into ours and checked."""
