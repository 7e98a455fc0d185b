"""The doors of zejzl-ray on Ray Serve: the HTTP application, its deployment, and what surrounds it."""
