"""What a picture, a caption, an identity and a split are, and how they come out of files: read, decoded, drawn."""
