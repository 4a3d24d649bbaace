"""The theatre: the scenarios of simulations/ played by real processes. docs/decisions/011 says what each word means."""
