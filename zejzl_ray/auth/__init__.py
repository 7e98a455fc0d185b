"""Checking who calls, in the process that does the work: tokens, revocations, scopes, limits, the audit trail."""
