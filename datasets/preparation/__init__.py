"""Download, unpack, convert, check and measure data sets."""
