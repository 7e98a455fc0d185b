"""What programs and notebooks use: one client, over HTTP from outside and actor handles inside the cluster.

Take it from ``zejzl_ray``: ``connect`` and ``Client`` for blocking code, ``connect_async`` and
``AsyncClient`` for a running event loop.
"""
