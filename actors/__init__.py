"""Thin Ray shells around the services: one line a method, all logic in ``zejzl_ray``."""
