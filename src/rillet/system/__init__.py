"""Access to the operating system: bounded reads, atomic writes, the cache, the compiler and downloads."""
