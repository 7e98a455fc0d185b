"""What keeps work going when others fail: retries, declared fallbacks, limits on how often somebody is called."""
