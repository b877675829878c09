"""Speech: audio files, acoustic features, speech encoders, voice activity."""
