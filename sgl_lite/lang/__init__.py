"""SGLang's module paths, so that programs that import from them run with the package's name changed."""
