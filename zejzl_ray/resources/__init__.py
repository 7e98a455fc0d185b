"""Who gets video memory and CPU: pure decisions and the ledger. No Ray here."""
