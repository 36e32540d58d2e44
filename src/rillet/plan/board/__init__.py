"""Row plans for microcontrollers with kernels of their own."""
