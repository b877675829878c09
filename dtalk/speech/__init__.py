"""Speech: waveforms, features, encoders."""
