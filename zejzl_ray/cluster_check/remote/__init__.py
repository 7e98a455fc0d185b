"""The program that runs on each machine while it is asked; its modules are sent there as one text."""
