"""The search over windows: what it asks of a model, zoom paths, best first, and `locate`."""
