"""What every other package uses: paths, files, locks, processes, tables, progress."""
