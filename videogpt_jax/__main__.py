"""`python -m videogpt_jax` is the command `videogpt`."""

from videogpt_jax.command import main

main()
