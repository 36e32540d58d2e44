"""The environment check behind `rillet doctor`: compiler, kernels, extras, cache and oracles of this machine."""

from rillet.runtime.doctor import Diagnosis, doctor

__all__ = ["Diagnosis", "doctor"]
