"""Settings of all tests."""

from hypothesis import settings

settings.register_profile("sparseift", deadline=None)  # machines are noisy, and several tests run at a time
settings.load_profile("sparseift")
