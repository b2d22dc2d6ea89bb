"""The search over windows: its interface to models, the geometry of zooming, best-first search, `locate` and `locate_many`."""
