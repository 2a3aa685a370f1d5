"""Files in and out: the one door for scans, label maps, maps and checked YAML."""
