"""The command line of the fuzzer."""

from .harness import main

main()
