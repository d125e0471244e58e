"""What fork/bundle.sh packs, and the launcher of the programs in there."""
