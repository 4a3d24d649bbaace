"""Floor 3: the living daemon. Wiring, driver, timers, telemetry, configuration, identity."""
