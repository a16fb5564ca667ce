"""A page in which a model is played: one WebSocket for each browser, frames as bytes."""
