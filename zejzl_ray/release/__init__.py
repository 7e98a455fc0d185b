"""Releases: the project and all that it needs as one folder of wheels, installed side by side, and the way back."""
