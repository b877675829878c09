"""Streaming: sound as it comes to curves as they are needed, sent to other programs."""
