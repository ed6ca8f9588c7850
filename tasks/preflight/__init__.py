"""What would end a run late, asked before its first stage. No stage imports it: it changes no result."""
