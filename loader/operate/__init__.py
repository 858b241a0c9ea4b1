"""Operating the loader in the months after the first load; `loader.commands` has the command line of it."""
