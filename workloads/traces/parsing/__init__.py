"""What all trace readers share: opening a file, turning it into columns piece by piece."""
