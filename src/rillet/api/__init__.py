"""The public functions, by what they are about; `import rillet` has them all under one roof."""
