"""The search over windows: its interface to models, the geometry of zooming, best-first search, and `locate`."""
