"""Messages to text and back: chat templates, of tokenizers and built in, with images and without."""
