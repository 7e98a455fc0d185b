"""What one machine has and how busy it is: CPU, memory, disk, network, cards. No Ray here."""
