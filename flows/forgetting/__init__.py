"""What goes: rows that were forgotten, and all that nothing needs any more."""
