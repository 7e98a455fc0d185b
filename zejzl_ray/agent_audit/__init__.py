"""Finds what makes agents hang, leak or fall over, by their source alone: nothing audited is imported or run."""
