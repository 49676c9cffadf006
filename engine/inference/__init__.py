"""From images and videos to class maps and the files that show them."""
