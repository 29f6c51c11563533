"""Many trials: what profiles declare, what has been recorded, and what runs next."""

ALL = "all"  # on the command line, in the place of a study's name: all of a profile
