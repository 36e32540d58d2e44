"""What Rillet finds on this machine."""

from rillet.runtime.doctor import Diagnosis, doctor

__all__ = ["Diagnosis", "doctor"]
