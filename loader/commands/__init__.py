"""The command line of what comes after the first load: a module for each command, light until it has work to do."""
