"""Where to cut: layout and settings in, a plan out. Pure: no file is opened here."""
