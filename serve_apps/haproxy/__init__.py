"""Running Ray Serve's HAProxy closed: its generated file is edited before the real program reads it."""
