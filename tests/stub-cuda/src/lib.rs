//! A CUDA driver for tests: see README.md.
