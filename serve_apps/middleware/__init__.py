"""What every request passes, one idea a file; ``serve_apps.app`` lists them in their order."""
