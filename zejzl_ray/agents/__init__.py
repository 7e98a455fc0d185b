"""Agents: the base class that users extend, and what runs, supervises and reports them; no Ray in it."""
