"""New rows of the inbox: read, checked against what the data hold, remembered in the ledger."""
