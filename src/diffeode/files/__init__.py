"""Reading and writing of files: the one door for scans, label maps, maps, tables and YAML."""
