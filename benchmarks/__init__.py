"""How fast pixelgrad is beside what people would use instead (`python -m benchmarks`), and how good what it makes is
(the other files here, each on its own)."""
